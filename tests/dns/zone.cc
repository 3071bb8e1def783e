#include "tests/dns/zone.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "dns/transcript.h"

namespace mxring::test {

namespace {

using dns::Type;

constexpr std::array<std::pair<std::string_view, Fault>, 17> kFaults{{
    {"silent", Fault::kSilent},
    {"servfail", Fault::kServerFailure},
    {"refused", Fault::kRefused},
    {"slow", Fault::kSlow},
    {"wrong-id", Fault::kWrongId},
    {"wrong-question", Fault::kWrongQuestion},
    {"forged-case", Fault::kForgedCase},
    {"only-forgeries", Fault::kOnlyForgeries},
    {"truncated", Fault::kTruncated},
    {"tcp-closes", Fault::kTcpCloses},
    {"tcp-dribbles", Fault::kTcpDribbles},
    {"oversized", Fault::kOversized},
    {"compression-loop", Fault::kCompressionLoop},
    {"garbage", Fault::kGarbage},
    {"reflected", Fault::kReflected},
    {"empty", Fault::kEmpty},
    {"one-alias", Fault::kOneAlias},
}};

bool parse_line(Zone& zone, const std::string& line) {
  std::istringstream words(line);
  std::string name;
  std::string kind;
  if (!(words >> name >> kind)) return false;
  Node& node = zone.at(name);
  if (kind == "!") {
    std::string fault;
    words >> fault >> node.fault_ms;
    const auto known = std::ranges::find(kFaults, fault, &decltype(kFaults)::value_type::first);
    if (known == kFaults.end()) return false;
    node.fault = known->second;
    return true;
  }
  const auto type = dns::type_from_word(kind);
  if (!type) return false;
  std::string rest;
  std::getline(words, rest);
  if (*type == Type::kTxt) {
    // The quoted strings of one line are one record.
    const auto read = dns::parse_transcript_line("x TXT answer 0" + rest);
    if (read) node.texts.push_back(read->answer->texts);
    return read.has_value();
  }
  const auto read = dns::parse_transcript_line("x " + kind + " answer 0" + rest);
  if (!read) return false;
  const dns::Answer& data = *read->answer;
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(node.addresses, data.addresses);
  append(node.exchangers, data.exchangers);
  if (*type == Type::kPtr) append(node.pointers, data.names);
  if (*type == Type::kCname && !data.names.empty()) node.alias = data.names.front();
  return true;
}

}  // namespace

bool Node::has(Type type) const {
  const auto of_family = [&](const base::IpAddress& a) { return a.is_v4() == (type == Type::kA); };
  switch (type) {
    case Type::kA:
    case Type::kAaaa:
      return std::ranges::any_of(addresses, of_family);
    case Type::kTxt:
      return !texts.empty();
    case Type::kMx:
      return !exchangers.empty();
    case Type::kPtr:
      return !pointers.empty();
    case Type::kCname:
      return alias.has_value();
    case Type::kNs:
      return false;
  }
  return false;
}

Zone Zone::parse(std::string_view text) {
  Zone zone;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (!parse_line(zone, line)) throw std::runtime_error("zone: cannot read: " + line);
  }
  return zone;
}

Zone Zone::load(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("zone: cannot open " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return parse(text.str());
}

Node& Zone::at(std::string_view name) {
  const auto parsed = dns::Name::parse_escaped(name);
  if (!parsed) throw std::runtime_error("zone: no name: " + std::string(name));
  return nodes_[std::string(parsed->wire())];
}

const Node* Zone::find(const dns::Name& name) const {
  const auto node = nodes_.find(name.wire());
  return node == nodes_.end() ? nullptr : &node->second;
}

dns::AnswerPtr Zone::answer(const dns::Question& question) const {
  auto answer = std::make_shared<dns::Answer>();
  answer->ttl_s = 300;
  dns::Name name = question.name;
  const Node* node = find(name);
  while (node != nullptr && node->alias && question.type != Type::kCname) {
    if (answer->aliases.size() == dns::Answer::kAliasesMax) return answer;
    name = *node->alias;
    answer->aliases.push_back(name);
    node = find(name);
  }
  if (node != nullptr && node->fault == Fault::kServerFailure) return answer;
  answer->status = node == nullptr ? dns::Status::kNoName : dns::Status::kNoData;
  if (node == nullptr) return answer;
  if (!node->has(question.type)) {
    if (node->fault == Fault::kSilent) answer->status = dns::Status::kTimeout;
    return answer;
  }
  answer->status = dns::Status::kAnswer;
  if (question.type == Type::kTxt) {
    for (const auto& strings : node->texts) {
      std::string& joined = answer->texts.emplace_back();
      for (const std::string& part : strings) joined += part;
    }
  }
  if (question.type == Type::kMx) answer->exchangers = node->exchangers;
  if (question.type == Type::kPtr) answer->names = node->pointers;
  if (question.type == Type::kCname) answer->names = {*node->alias};
  for (const base::IpAddress& address : node->addresses) {
    if ((question.type == Type::kA && address.is_v4()) ||
        (question.type == Type::kAaaa && !address.is_v4())) {
      answer->addresses.push_back(address);
    }
  }
  return answer;
}

}  // namespace mxring::test
