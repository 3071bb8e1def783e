#include "tune/check_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"

namespace mxring::tune {

namespace {

constexpr Verdict kVerdicts[] = {Verdict::kProblem, Verdict::kAdvice, Verdict::kOk,
                                 Verdict::kSkipped};

std::size_t count(const std::vector<Row>& rows, Verdict verdict) {
  return static_cast<std::size_t>(
      std::ranges::count_if(rows, [verdict](const Row& row) { return row.verdict == verdict; }));
}

std::string cut(std::string_view text, std::size_t columns) {
  // Everything here is ASCII but what a file of /proc might hold.
  std::string out = base::escaped(text);
  if (out.size() <= columns) return out;
  std::size_t end = columns - 1;
  while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0) == 0x80) --end;
  return out.substr(0, end) + "\u2026";
}

// Of what is wrapped.
std::size_t text_columns(const ReportStyle& style) {
  constexpr std::size_t kUsual = 80;
  constexpr std::size_t kWidest = 120;
  return style.columns == 0 ? kUsual : std::clamp<std::size_t>(style.columns, 40, kWidest);
}

std::string coloured(Verdict verdict, std::string text, bool colour) {
  if (!colour || verdict == Verdict::kOk) return text;
  const char* code = verdict == Verdict::kProblem  ? "1;31"
                     : verdict == Verdict::kAdvice ? "33"
                                                   : "2";
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

void add_detail(std::string& out, std::string_view name, std::string_view text,
                std::size_t columns) {
  constexpr std::size_t kIndent = 11;
  if (text.empty() || text == "-") return;
  bool first = true;
  for (const std::string& line : wrapped(base::escaped(text), columns - kIndent)) {
    out += fmt::format("  {:<9}{}\n", first ? name : "", line);
    first = false;
  }
}

std::string details(const Row& row, const ReportStyle& style) {
  std::string out = fmt::format(
      "\n{}: {}\n", coloured(row.verdict, std::string(word(row.verdict)), style.colour), row.name);
  if (row.verdict == Verdict::kSkipped) {
    add_detail(out, "because", row.skipped, text_columns(style));
    add_detail(out, "why", row.why, text_columns(style));
    add_detail(out, "effect", row.effect, text_columns(style));
    return out;
  }
  add_detail(out, "now", row.current, text_columns(style));
  add_detail(out, "wanted", row.wanted, text_columns(style));
  add_detail(out, "why", row.why, text_columns(style));
  add_detail(out, "fix", row.fix, text_columns(style));
  add_detail(out, "persist", row.persist, text_columns(style));
  add_detail(out, "undo", row.undo, text_columns(style));
  add_detail(out, "effect", row.effect, text_columns(style));
  return out;
}

}  // namespace

std::vector<std::string> wrapped(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines;
  for (const std::string& next : split_words(text)) {
    if (!lines.empty() && lines.back().size() + 1 + next.size() <= columns) {
      lines.back() += ' ' + next;
    } else {
      lines.push_back(next);
    }
  }
  return lines;
}

bool any_problem(const std::vector<Row>& rows) {
  return count(rows, Verdict::kProblem) > 0;
}

std::string check_table(const std::vector<Row>& rows, std::string_view headline,
                        const ReportStyle& style) {
  constexpr std::size_t kVerdictWidth = 9;
  const auto longest = [&rows](std::string Row::*member) {
    std::size_t most = 6;
    for (const Row& row : rows) most = std::max(most, base::escaped(row.*member).size());
    return most;
  };
  // As wide as what is in them, unless that is wider than the terminal.
  const std::size_t name_width = longest(&Row::name) + 1;
  std::size_t current_width = longest(&Row::current);
  std::size_t wanted_width = longest(&Row::wanted);
  const std::size_t front = kVerdictWidth + name_width + 1;
  if (style.columns != 0 && front + current_width + wanted_width > style.columns) {
    const std::size_t rest = std::max(style.columns, front + 30) - front;
    const std::size_t spared = wanted_width < rest ? rest - wanted_width : 0;
    current_width = std::min(current_width, std::max(rest * 48 / 100, spared));
    wanted_width = rest - current_width;
  }
  std::string out(headline);
  out += fmt::format("\n\n{:<{}}{:<{}}{:<{}} {}\n", "", kVerdictWidth, "what", name_width, "now",
                     current_width, "wanted");
  for (const Row& row : rows) {
    const std::string verdict = fmt::format("{:<{}}", word(row.verdict), kVerdictWidth);
    const bool skipped = row.verdict == Verdict::kSkipped;
    std::string line =
        fmt::format("{}{:<{}}{:<{}} {}", coloured(row.verdict, verdict, style.colour), row.name,
                    name_width, cut(skipped ? "-" : row.current, current_width), current_width,
                    cut(row.wanted, wanted_width));
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  out += fmt::format(
      "\n{}, {}, {} ok, {} skipped\n", base::counted(count(rows, Verdict::kProblem), "problem"),
      base::counted(count(rows, Verdict::kAdvice), "piece of advice", "pieces of advice"),
      count(rows, Verdict::kOk), count(rows, Verdict::kSkipped));
  for (const Verdict verdict : kVerdicts) {
    const bool brief = verdict == Verdict::kOk || verdict == Verdict::kSkipped;
    if (brief && !style.verbose) continue;
    for (const Row& row : rows) {
      if (row.verdict == verdict) out += details(row, style);
    }
  }
  if (!style.verbose && count(rows, Verdict::kSkipped) > 0) {
    out += "\nskipped, because\n";
    for (const Row& row : rows) {
      if (row.verdict != Verdict::kSkipped) continue;
      for (const std::string& line :
           wrapped(base::escaped(row.name + ": " + row.skipped), text_columns(style) - 2)) {
        out += "  " + line + '\n';
      }
    }
  }
  return out;
}

std::string check_json(const std::vector<Row>& rows) {
  base::JsonWriter json;
  json.begin_object().key("ok").value(!any_problem(rows));
  json.key("counts").begin_object();
  for (const Verdict verdict : kVerdicts) {
    json.key(word(verdict)).value(std::uint64_t{count(rows, verdict)});
  }
  json.end_object().key("rows").begin_array();
  for (const Row& row : rows) {
    json.begin_object().key("group").value(row.group).key("name").value(row.name);
    json.key("verdict").value(word(row.verdict));
    json.key("current").value(row.current).key("wanted").value(row.wanted);
    json.key("why").value(row.why).key("fix").value(row.fix);
    json.key("persist").value(row.persist).key("undo").value(row.undo);
    json.key("effect").value(row.effect).key("skipped_because").value(row.skipped);
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

}  // namespace mxring::tune
