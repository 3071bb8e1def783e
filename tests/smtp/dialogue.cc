#include "tests/smtp/dialogue.h"

#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>

namespace mxring::smtp {

namespace {

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 >= text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'r') out += '\r';
    if (c == 'n') out += '\n';
    if (c == 's') out += ' ';
    if (c == '0') out += '\0';
    if (c == '\\') out += '\\';
    if (c == 'x' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    }
  }
  return out;
}

std::string_view take_word(std::string_view& text) {
  const std::size_t space = std::min(text.find(' '), text.size());
  const std::string_view word = text.substr(0, space);
  text.remove_prefix(std::min(text.size(), space + 1));
  return word;
}

template <class Number>
bool parse_number(std::string_view text, Number& number) {
  return std::from_chars(text.data(), text.data() + text.size(), number).ec == std::errc{};
}

std::string without_brackets(std::string_view path) {
  if (path.starts_with('<')) path.remove_prefix(1);
  if (path.ends_with('>')) path.remove_suffix(1);
  return std::string(path);
}

bool set_limit(base::Limits& limits, std::string_view name, std::string_view value) {
  std::uint64_t number = 0;
  if (!parse_number(value, number)) return false;
  const auto small = static_cast<std::uint32_t>(number);
  if (name == "message_bytes") return limits.message_bytes = number, true;
  if (name == "header_bytes") return limits.header_bytes = small, true;
  if (name == "message_line_bytes") return limits.message_line_bytes = small, true;
  if (name == "message_line_flag_bytes") return limits.message_line_flag_bytes = small, true;
  if (name == "recipients") return limits.recipients = small, true;
  if (name == "messages_per_connection") return limits.messages_per_connection = small, true;
  if (name == "errors_soft") return limits.errors_soft = small, true;
  if (name == "errors_hard") return limits.errors_hard = small, true;
  if (name == "commands_without_mail") return limits.commands_without_mail = small, true;
  return false;
}

bool* leniency_named(std::string_view name, Leniency& leniency) {
  if (name == "spaces_in_paths") return &leniency.spaces_in_paths;
  if (name == "bare_paths") return &leniency.bare_paths;
  if (name == "dots_in_local_part") return &leniency.dots_in_local_part;
  if (name == "any_hello_name") return &leniency.any_hello_name;
  if (name == "auth_parameter") return &leniency.auth_parameter;
  if (name == "xtext_lower_case") return &leniency.xtext_lower_case;
  if (name == "trailing_dot") return &leniency.trailing_dot;
  if (name == "hello_optional") return &leniency.hello_optional;
  return nullptr;
}

class Reader {
 public:
  Dialogue read(std::istream& in) {
    dialogue_.options.hostname = "mx.example";
    dialogue_.turns.emplace_back();
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
      if (line.empty() || line[0] == '#') continue;
      const bool good = line[0] == '@' ? directive(line) : spoken(line);
      if (!good) dialogue_.error = "line " + std::to_string(number) + ": " + line;
    }
    return std::move(dialogue_);
  }

 private:
  bool spoken(std::string_view line) {
    const char who = line[0];
    line.remove_prefix(1);
    std::size_t times = 1;
    if (line.starts_with('*')) {
      line.remove_prefix(1);
      if (!parse_number(line, times)) return false;
      line.remove_prefix(line.find_first_not_of("0123456789"));
    }
    const bool ended = line.starts_with(':');
    if (!ended && !line.starts_with('>')) return false;
    line.remove_prefix(1);
    if (line.starts_with(' ')) line.remove_prefix(1);
    const std::string text = unescaped(line) + (ended ? "\r\n" : "");
    if (who == 'C' && answered_) dialogue_.turns.emplace_back();
    if (who == 'C') answered_ = false;
    if (who == 'S') answered_ = true;
    std::string& target = who == 'C' ? dialogue_.turns.back().sent : dialogue_.turns.back().replies;
    for (std::size_t i = 0; i < times; ++i) target += text;
    return who == 'C' || who == 'S';
  }

  bool directive(std::string_view line) {
    line.remove_prefix(1);
    const std::string_view name = take_word(line);
    if (name == "closed") return dialogue_.turns.back().closed = true, true;
    if (name == "hostname") return dialogue_.options.hostname = line, true;
    if (name == "finish") return dialogue_.policy.finish = line, true;
    if (name == "refuse") return refuse(line);
    if (name == "message") return message(line);
    if (name == "limit") {
      const std::string_view limit = take_word(line);
      return set_limit(dialogue_.options.limits, limit, line);
    }
    if (name == "strict") return dialogue_.options.leniency = kStrict, true;
    if (name == "starttls") return dialogue_.options.starttls = true, true;
    if (name == "xclient") {
      dialogue_.policy.refuse_xclient = line;
      return dialogue_.policy.xclient = true;
    }
    if (name == "named") {
      dialogue_.expected.named += ' ' + std::string(line);
      return true;
    }
    if (name == "lenient") {
      bool* leniency = leniency_named(line, dialogue_.options.leniency);
      return leniency != nullptr && (*leniency = true);
    }
    if (name == "discard") {
      const bool good = parse_number(take_word(line), dialogue_.policy.discard_after_bytes);
      dialogue_.policy.discard_reply = line;
      return good;
    }
    if (name == "count") {
      const std::string_view what = take_word(line);
      unsigned* number = what == "refused"     ? &dialogue_.expected.refused
                         : what == "discards"  ? &dialogue_.expected.discards
                         : what == "resets"    ? &dialogue_.expected.resets
                         : what == "slow"      ? &dialogue_.expected.slow
                         : what == "encrypted" ? &dialogue_.expected.encrypted
                                               : nullptr;
      return number != nullptr && parse_number(line, *number);
    }
    if (dialogue_.expected.messages.empty()) return false;
    ReceivedMessage& last = dialogue_.expected.messages.back();
    if (name == "parameters") return last.parameters = line, true;
    if (name == "content") return last.content = unescaped(line), true;
    return false;
  }

  bool refuse(std::string_view line) {
    const std::string_view what = take_word(line);
    if (what == "data") return dialogue_.policy.refuse_data = line, true;
    const std::string path = without_brackets(take_word(line));
    if (what == "mail") return dialogue_.policy.refuse_mail[path] = line, true;
    if (what == "rcpt") return dialogue_.policy.refuse_rcpt[path] = line, true;
    return false;
  }

  bool message(std::string_view line) {
    ReceivedMessage message;
    message.mail_from = without_brackets(take_word(line));
    while (!line.empty()) message.rcpt_to.push_back(without_brackets(take_word(line)));
    dialogue_.expected.messages.push_back(std::move(message));
    return true;
  }

  Dialogue dialogue_;
  // The banner comes without being asked for, so the first C line begins a turn.
  bool answered_ = true;
};

}  // namespace

Dialogue read_dialogue(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return Reader().read(in);
}

}  // namespace mxring::smtp
