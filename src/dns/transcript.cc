#include "dns/transcript.h"

#include <algorithm>
#include <charconv>

namespace mxring::dns {

namespace {

std::string_view take_word(std::string_view& line) {
  while (line.starts_with(' ')) line.remove_prefix(1);
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

void append_word(std::string& line, std::string_view word) {
  line += ' ';
  line += word;
}

template <class Number>
bool take_number(std::string_view& line, Number& number) {
  const std::string_view word = take_word(line);
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  return error == std::errc{} && end == word.data() + word.size();
}

std::optional<std::string> take_quoted(std::string_view& line) {
  if (!line.starts_with('"')) return std::nullopt;
  line.remove_prefix(1);
  std::string text;
  while (!line.empty() && line[0] != '"') {
    if (line[0] != '\\') {
      text += line[0];
      line.remove_prefix(1);
      continue;
    }
    unsigned value = 0;
    if (line.size() < 4) return std::nullopt;
    const auto [end, error] = std::from_chars(line.data() + 1, line.data() + 4, value);
    if (error != std::errc{} || end != line.data() + 4 || value > 255) return std::nullopt;
    text += static_cast<char>(value);
    line.remove_prefix(4);
  }
  if (line.empty()) return std::nullopt;
  line.remove_prefix(1);
  return text;
}

// One record's data, or one alias, from the front of `line`.
bool take_data(std::string_view& line, Type type, Answer& answer) {
  while (line.starts_with(' ')) line.remove_prefix(1);
  std::string_view rest = line;
  if (take_word(rest) == "alias") {
    const auto alias = Name::parse_escaped(take_word(rest));
    if (!alias) return false;
    answer.aliases.push_back(*alias);
    line = rest;
    return true;
  }
  if (type == Type::kTxt) {
    auto text = take_quoted(line);
    if (text) answer.texts.push_back(std::move(*text));
    return text.has_value();
  }
  if (type == Type::kA || type == Type::kAaaa) {
    const auto address = base::IpAddress::parse(take_word(line));
    if (address) answer.addresses.push_back(*address);
    return address.has_value();
  }
  Exchanger exchanger;
  if (type == Type::kMx && !take_number(line, exchanger.preference)) return false;
  const auto name = Name::parse_escaped(take_word(line));
  if (!name) return false;
  if (type == Type::kMx) {
    exchanger.name = *name;
    answer.exchangers.push_back(exchanger);
  } else {
    answer.names.push_back(*name);
  }
  return true;
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\') {
      out += c;
    } else {
      out += {'\\', static_cast<char>('0' + byte / 100), static_cast<char>('0' + byte / 10 % 10),
              static_cast<char>('0' + byte % 10)};
    }
  }
  return out + '"';
}

std::string transcript_line(const Question& question, const Answer& answer) {
  std::string line = question.name.to_text();
  append_word(line, type_word(question.type));
  append_word(line, status_word(answer.status));
  append_word(line, std::to_string(answer.ttl_s));
  for (const base::IpAddress& address : answer.addresses) append_word(line, address.to_string());
  for (const std::string& text : answer.texts) append_word(line, quoted(text));
  for (const Name& name : answer.names) append_word(line, name.to_text());
  for (const Exchanger& exchanger : answer.exchangers) {
    append_word(line, std::to_string(exchanger.preference));
    append_word(line, exchanger.name.to_text());
  }
  for (const Name& alias : answer.aliases) {
    append_word(line, "alias");
    append_word(line, alias.to_text());
  }
  return line + '\n';
}

std::optional<TranscriptLine> parse_transcript_line(std::string_view line) {
  const auto name = Name::parse_escaped(take_word(line));
  const auto type = type_from_word(take_word(line));
  auto answer = std::make_shared<Answer>();
  if (!name || !type || !status_from_word(take_word(line), answer->status) ||
      !take_number(line, answer->ttl_s)) {
    return std::nullopt;
  }
  while (line.find_first_not_of(' ') != std::string_view::npos) {
    if (!take_data(line, *type, *answer)) return std::nullopt;
  }
  return TranscriptLine{{*name, *type}, std::move(answer)};
}

}  // namespace mxring::dns
