// hone: one binary.
#include <cerrno>
#include <csignal>
#include <iostream>

#include <fcntl.h>

#include "cli/command_line.h"

namespace {

/// A standard stream that is closed would be given to the next file that is opened, the database of a run, say.
void open_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) (void)!open("/dev/null", O_RDWR);
  }
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  std::signal(SIGPIPE, SIG_DFL);  // a reader that leaves (`| head`) ends us quietly, even where SIGPIPE was ignored
  std::ios::sync_with_stdio(false);
  return hone::run_command_line(argc, argv);
}
