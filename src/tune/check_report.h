// The rows of `mxring tune check` as people and programs read them.
#pragma once

#include <string>
#include <vector>

#include "tune/check.h"

namespace mxring::tune {

struct ReportStyle {
  bool verbose = false;  // details of every row, not only of those that are not ok
  bool colour = false;
  std::size_t columns = 80;  // of the terminal; 0: not a terminal, and nothing is cut
};

// A table of all rows, then the details of those that ask for something, then what was skipped.
std::string check_table(const std::vector<Row>& rows, std::string_view headline,
                        const ReportStyle& style);
// One JSON object: ok counts{} rows[{group name verdict current wanted why fix persist undo effect
// skipped_because}]. `ok` is false when a row is a problem.
std::string check_json(const std::vector<Row>& rows);
bool any_problem(const std::vector<Row>& rows);

// Text broken at blanks into lines of `columns`; a word longer than that stays whole.
std::vector<std::string> wrapped(std::string_view text, std::size_t columns);

}  // namespace mxring::tune
