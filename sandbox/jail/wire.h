// Messages with descriptors over a SOCK_SEQPACKET socket, for both ends. No C++ library.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>

namespace hone::sandbox {

constexpr int kMaxFds = 6;

/// One message, whole; false: the other end is gone.
inline bool send_message(int socket, const void* data, size_t size, const int* fds = nullptr, int num_fds = 0) {
  iovec part{const_cast<void*>(data), size};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (num_fds > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(static_cast<size_t>(num_fds) * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(static_cast<size_t>(num_fds) * sizeof(int));
    memcpy(CMSG_DATA(header), fds, static_cast<size_t>(num_fds) * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(size);
}

/// The size of the message (at most `size`), 0 at the end, -1 on error. Received descriptors close on exec.
inline ssize_t receive_message(int socket, void* data, size_t size, int* fds, int* num_fds, int flags = 0) {
  iovec part{data, size};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  } while (got < 0 && errno == EINTR);
  *num_fds = 0;
  if (got <= 0) return got;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    *num_fds = static_cast<int>((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(header), static_cast<size_t>(*num_fds) * sizeof(int));
  }
  return got;
}

}  // namespace hone::sandbox
