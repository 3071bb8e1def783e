#include "tests/base/tidy_rules.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace mxring::tidy {

namespace {

// Calls `each` with the number of a line, from 1, and the line.
template <class Each>
void for_each_line(std::string_view source, Each each) {
  std::size_t number = 0;
  while (!source.empty()) {
    const std::size_t end = std::min(source.find('\n'), source.size());
    each(++number, source.substr(0, end));
    source.remove_prefix(std::min(end + 1, source.size()));
  }
}

std::size_t columns(std::string_view line) {
  return static_cast<std::size_t>(std::ranges::count_if(
      line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Where `word` stands on its own, without regard to case.
bool contains_word(std::string_view line, std::string_view word) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  for (auto from = line.begin();;) {
    const auto found = std::search(from, line.end(), word.begin(), word.end(), same);
    if (found == line.end()) return false;
    const auto after = found + static_cast<std::ptrdiff_t>(word.size());
    const bool begins = found == line.begin() || !is_word(*(found - 1));
    const bool ends = after == line.end() || !is_word(*after);
    if (begins && ends) return true;
    from = found + 1;
  }
}

struct Banned {
  std::string_view word;
  std::string_view instead;
};

// Words of another language's sense, and names that say nothing.
constexpr std::array kBanned{
    Banned{"self-made", "self-signed, or our own"},
    Banned{"for want of", "without"},
    Banned{"util", "a name that says what it does"},
    Banned{"utils", "a name that says what it does"},
    Banned{"helper", "a name that says what it does"},
};
constexpr std::array<std::string_view, 4> kUnfinished{"TODO", "FIXME", "XXX", "HACK"};

// What stands before an opening brace on the way back to the last statement, brace or label.
std::string_view before_brace(std::string_view code, std::size_t brace) {
  const std::size_t from = code.substr(0, brace).find_last_of(";{}");
  const std::size_t begin = from == std::string_view::npos ? 0 : from + 1;
  return code.substr(begin, brace - begin);
}

bool opens_function(std::string_view head) {
  for (const std::string_view word : {"namespace", "class", "struct", "enum", "union", "extern"}) {
    if (contains_word(head, word) && head.find('(') == std::string_view::npos) return false;
  }
  if (head.find("__attribute__") != std::string_view::npos) return false;  // of a namespace
  // "type name{...}" and "= {...}" are values; a function has its parameters before the brace.
  const std::size_t closing = head.rfind(')');
  if (closing == std::string_view::npos) return false;
  const std::size_t assigned = head.find('=');
  const std::size_t opening = head.find('(');
  return assigned == std::string_view::npos || assigned > opening;
}

}  // namespace

std::string without_comments(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::string_view rest = source.substr(i);
    if (rest.front() == '#' && (i == 0 || source[i - 1] == '\n')) {
      i += std::min(rest.find('\n'), rest.size()) - 1;
    } else if (rest.starts_with("//")) {
      i += std::min(rest.find('\n'), rest.size()) - 1;
    } else if (rest.starts_with("/*")) {
      const std::size_t end = std::min(rest.find("*/"), rest.size());
      out.append(static_cast<std::size_t>(std::ranges::count(rest.substr(0, end), '\n')), '\n');
      i += end + 1;
    } else if (rest.starts_with("R\"")) {
      const std::size_t opening = rest.find('(');
      const std::string closing = ")" + std::string(rest.substr(2, opening - 2)) + "\"";
      const std::size_t end = std::min(rest.find(closing), rest.size() - closing.size());
      out.append(static_cast<std::size_t>(std::ranges::count(rest.substr(0, end), '\n')), '\n');
      i += end + closing.size() - 1;
    } else if (source[i] == '"' || (source[i] == '\'' && (i == 0 || !is_word(source[i - 1])))) {
      const char quote = source[i];
      for (++i; i < source.size() && source[i] != quote && source[i] != '\n'; ++i) {
        if (source[i] == '\\') ++i;
      }
      out += "''";
    } else {
      out += source[i];
    }
  }
  return out;
}

Faults long_lines(std::string_view source) {
  Faults faults;
  for_each_line(source, [&](std::size_t number, std::string_view line) {
    if (columns(line) > kColumnsMax) {
      faults.push_back(std::to_string(number) + ": " + std::to_string(columns(line)) + " columns");
    }
  });
  return faults;
}

Faults long_functions(std::string_view source) {
  Faults faults;
  const std::string code = without_comments(source);
  struct Open {
    std::size_t line;
    bool function;
  };
  std::vector<Open> open;
  std::size_t line = 1;
  bool inside = false;  // a function: what it contains is part of it
  for (std::size_t i = 0; i < code.size(); ++i) {
    if (code[i] == '\n') ++line;
    if (code[i] == '{') {
      const bool function = !inside && opens_function(before_brace(code, i));
      inside = inside || function;
      open.push_back({line, function});
    }
    if (code[i] != '}' || open.empty()) continue;
    const Open opened = open.back();
    open.pop_back();
    if (!opened.function) continue;
    inside = false;
    const std::size_t count = line - opened.line + 1;
    if (count > kFunctionLinesMax) {
      faults.push_back(std::to_string(opened.line) + ": a function of " + std::to_string(count) +
                       " lines");
    }
  }
  return faults;
}

Faults banned_words(std::string_view source) {
  Faults faults;
  for_each_line(source, [&](std::size_t number, std::string_view line) {
    for (const Banned& banned : kBanned) {
      if (!contains_word(line, banned.word)) continue;
      faults.push_back(std::to_string(number) + ": \"" + std::string(banned.word) + "\"; rather " +
                       std::string(banned.instead));
    }
  });
  return faults;
}

Faults unfinished(std::string_view source) {
  Faults faults;
  for_each_line(source, [&](std::size_t number, std::string_view line) {
    for (const std::string_view word : kUnfinished) {
      const std::size_t at = line.find(word);
      const bool alone = at != std::string_view::npos && (at == 0 || !is_word(line[at - 1])) &&
                         (at + word.size() == line.size() || !is_word(line[at + word.size()]));
      if (alone) faults.push_back(std::to_string(number) + ": " + std::string(word));
    }
  });
  return faults;
}

Faults header_without_head(std::string_view source) {
  Faults faults;
  if (!source.starts_with("//")) faults.emplace_back("1: no comment says what this header is for");
  if (source.find("#pragma once") == std::string_view::npos) {
    faults.emplace_back("1: no #pragma once");
  }
  return faults;
}

std::size_t assertions(std::string_view source) {
  const std::string code = without_comments(source);
  std::size_t count = 0;
  for (const std::string_view word : {"MXRING_ASSERT(", "static_assert("}) {
    for (std::size_t at = code.find(word); at != std::string::npos; at = code.find(word, at + 1)) {
      ++count;
    }
  }
  return count;
}

std::string squeezed(std::string_view source) {
  std::string out;
  for (const char c : source) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) out += c;
  }
  for (std::size_t at = out.find("\"\""); at != std::string::npos; at = out.find("\"\"", at)) {
    out.erase(at, 2);
  }
  return out;
}

std::vector<std::string> invariants(std::string_view source) {
  constexpr std::string_view kAssert = "MXRING_ASSERT(";
  std::vector<std::string> conditions;
  const std::string code = without_comments(source);
  for (std::size_t at = code.find("invariants()"); at != std::string::npos;
       at = code.find("invariants()", at + 1)) {
    const std::size_t brace = code.find_first_of(";{", at);
    if (brace == std::string::npos || code[brace] == ';') continue;  // a call, or a declaration
    std::size_t end = brace + 1;
    for (int open = 1; end < code.size() && open > 0; ++end) {
      open += code[end] == '{' ? 1 : code[end] == '}' ? -1 : 0;
    }
    const std::string_view body = std::string_view(code).substr(brace, end - brace);
    for (std::size_t found = body.find(kAssert); found != body.npos;
         found = body.find(kAssert, found + 1)) {
      const std::size_t begin = found + kAssert.size();
      std::size_t close = begin;
      for (int open = 1; close < body.size(); ++close) {
        open += body[close] == '(' ? 1 : body[close] == ')' ? -1 : 0;
        if (open == 0) break;
      }
      conditions.emplace_back(body.substr(begin, close - begin));
    }
  }
  return conditions;
}

std::size_t lines(std::string_view source) {
  return static_cast<std::size_t>(std::ranges::count(source, '\n'));
}

}  // namespace mxring::tidy
