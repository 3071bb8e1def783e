#include "tune/check_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/text.h"

namespace mxring::tune {

namespace {

constexpr Verdict kVerdicts[] = {Verdict::kProblem, Verdict::kAdvice, Verdict::kOk,
                                 Verdict::kSkipped};

std::size_t count(const std::vector<Row>& rows, Verdict verdict) {
  return static_cast<std::size_t>(
      std::ranges::count_if(rows, [verdict](const Row& row) { return row.verdict == verdict; }));
}

std::string cut(std::string_view text, std::size_t columns) {
  // Everything here is ASCII but what a file of /proc might hold; that is escaped.
  std::string out = base::escaped(text);
  if (out.size() > columns) out = out.substr(0, columns - 2) + "..";
  return out;
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
    add_detail(out, "because", row.skipped, style.columns);
    add_detail(out, "why", row.why, style.columns);
    add_detail(out, "effect", row.effect, style.columns);
    return out;
  }
  add_detail(out, "now", row.current, style.columns);
  add_detail(out, "wanted", row.wanted, style.columns);
  add_detail(out, "why", row.why, style.columns);
  add_detail(out, "fix", row.fix, style.columns);
  add_detail(out, "persist", row.persist, style.columns);
  add_detail(out, "undo", row.undo, style.columns);
  add_detail(out, "effect", row.effect, style.columns);
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
  constexpr std::size_t kNameWidth = 29;
  const std::size_t rest =
      std::max<std::size_t>(style.columns, 60) - kVerdictWidth - kNameWidth - 1;
  const std::size_t current_width = rest * 48 / 100;
  const std::size_t wanted_width = rest - current_width - 1;
  std::string out(headline);
  out += fmt::format("\n\n{:<{}}{:<{}}{:<{}} {}\n", "", kVerdictWidth, "what", kNameWidth, "now",
                     current_width, "wanted");
  for (const Row& row : rows) {
    const std::string verdict = fmt::format("{:<{}}", word(row.verdict), kVerdictWidth);
    const bool skipped = row.verdict == Verdict::kSkipped;
    std::string line = fmt::format(
        "{}{:<{}}{:<{}} {}", coloured(row.verdict, verdict, style.colour),
        cut(row.name, kNameWidth - 1), kNameWidth, cut(skipped ? "-" : row.current, current_width),
        current_width, cut(row.wanted, wanted_width));
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  out += fmt::format("\n{} problems, {} pieces of advice, {} ok, {} skipped\n",
                     count(rows, Verdict::kProblem), count(rows, Verdict::kAdvice),
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
           wrapped(base::escaped(row.name + ": " + row.skipped), style.columns - 2)) {
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
