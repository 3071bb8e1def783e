// What `mxring top` shows of the live document (cli/JSON.md): lines of at most 80 columns. Pure.
#pragma once

#include <string>
#include <string_view>

namespace mxring::cli {

constexpr std::size_t kTopColumns = 80;

// `rows`: how many lines there is room for; 0 = as many as there are. Of text that is no live
// document, a line that says so.
std::string top_screen(std::string_view live, std::size_t rows);

}  // namespace mxring::cli
