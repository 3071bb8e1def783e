// The style of this house as functions over source text: what CONTRIBUTING.md asks for and a
// program can see. Each returns what is wrong, a line each ("12: ..."), or nothing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::tidy {

using Faults = std::vector<std::string>;

constexpr std::size_t kColumnsMax = 100;
constexpr std::size_t kFunctionLinesMax = 70;
constexpr std::size_t kFileLinesMax = 600;

// Code without comments, without what stands between quotes, and without preprocessor lines; line
// breaks stay.
std::string without_comments(std::string_view source);

Faults long_lines(std::string_view source);
// A function's body, from its opening brace to the closing one: longer than a screen. Namespaces,
// classes, enums and tables are no functions.
Faults long_functions(std::string_view source);
Faults banned_words(std::string_view source);
// TODO and its like.
Faults unfinished(std::string_view source);
// A header begins with a comment and #pragma once.
Faults header_without_head(std::string_view source);

// MXRING_ASSERT and static_assert.
std::size_t assertions(std::string_view source);
// The conditions that functions named `invariants` assert, each on one line.
std::vector<std::string> invariants(std::string_view source);
// Without spaces, and with neighbouring literals joined.
std::string squeezed(std::string_view source);
std::size_t lines(std::string_view source);

}  // namespace mxring::tidy
