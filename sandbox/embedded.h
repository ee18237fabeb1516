// The files that a worker is made of, carried inside the library.
#pragma once

#include <string_view>

namespace hone::sandbox {

std::string_view embedded_launcher();  ///< an executable
std::string_view embedded_zygote();    ///< a shared library for the interpreter
std::string_view embedded_driver();    ///< jail/zygote.py

}  // namespace hone::sandbox
