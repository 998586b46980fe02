// SHA-256 (FIPS 180-4), so that a damaged or exchanged file is refused before ncnn parses it.
#pragma once

#include <string>

// In hexadecimal.
std::string sha256(const std::string& data);
