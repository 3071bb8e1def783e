// The page of the administration: its files, from server/page, as they were when this was built.
#pragma once

#include <string_view>

namespace mxring::server {

struct PageFile {
  std::string_view type;
  std::string_view text;
};

extern const PageFile kPageHtml;
extern const PageFile kPageStyle;
extern const PageFile kPageScript;

}  // namespace mxring::server
