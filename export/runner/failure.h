// What ends the program with one line and an exit code; the codes are those of docs/exit-codes.md.
#pragma once

#include <stdexcept>
#include <string>

enum class Code { usage = 2, bad_artefact = 4, no_frames = 6 };

struct Failure : std::runtime_error {
    Failure(Code code, const std::string& what) : std::runtime_error(what), code(code) {}
    Code code;
};
