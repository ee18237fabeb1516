#include "sandbox/embedded.h"

#define HONE_EMBED(name, file)                                                                                     \
  asm(".pushsection .rodata\n.balign 16\n.global hone_embedded_" name "\nhone_embedded_" name ":\n.incbin \"" file \
      "\"\n.global hone_embedded_" name "_end\nhone_embedded_" name "_end:\n.byte 0\n.popsection")

HONE_EMBED("launcher", HONE_JAIL);
HONE_EMBED("zygote", HONE_ZYGOTE);
HONE_EMBED("driver", HONE_DRIVER);

extern "C" {
extern const char hone_embedded_launcher[], hone_embedded_launcher_end[];
extern const char hone_embedded_zygote[], hone_embedded_zygote_end[];
extern const char hone_embedded_driver[], hone_embedded_driver_end[];
}

namespace hone::sandbox {
namespace {

std::string_view between(const char* begin, const char* end) { return {begin, static_cast<size_t>(end - begin)}; }

}  // namespace

std::string_view embedded_launcher() { return between(hone_embedded_launcher, hone_embedded_launcher_end); }
std::string_view embedded_zygote() { return between(hone_embedded_zygote, hone_embedded_zygote_end); }
std::string_view embedded_driver() { return between(hone_embedded_driver, hone_embedded_driver_end); }

}  // namespace hone::sandbox
