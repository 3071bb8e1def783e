#include "tests/mailauth/spf_suite.h"

#ifdef MXRING_HAVE_YAML
#include <yaml-cpp/yaml.h>
#endif

#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace mxring::test {

#ifdef MXRING_HAVE_YAML

namespace {

std::vector<std::string> strings_of(const YAML::Node& node) {
  if (!node || node.IsNull()) return {};
  if (node.IsScalar()) return {node.as<std::string>()};
  return node.as<std::vector<std::string>>();
}

void add_record(Node& node, const std::string& kind, const YAML::Node& data) {
  const std::vector<std::string> words = strings_of(data);
  if (kind == "A" || kind == "AAAA") {
    node.addresses.push_back(base::IpAddress::parse(words.at(0)).value());
  } else if (kind == "TXT" || kind == "SPF") {
    node.texts.push_back(words);
  } else if (kind == "MX") {
    node.exchangers.push_back({static_cast<std::uint16_t>(std::stoi(words.at(0))),
                               dns::Name::parse(words.at(1).empty() ? "." : words[1]).value()});
  } else if (kind == "PTR") {
    node.pointers.push_back(dns::Name::parse(words.at(0)).value());
  } else if (kind == "CNAME") {
    node.alias = dns::Name::parse(words.at(0).empty() ? "." : words[0]).value();
  } else {
    throw std::runtime_error("a record of an unknown kind: " + kind);
  }
}

// The suites' SPF records stand for TXT records too, unless the name has a TXT entry of its own
// ("TXT: NONE" is one without a record).
void add_name(Zone& zone, const std::string& name, const YAML::Node& entries) {
  Node& node = zone.at(name);
  bool own_text = false;
  for (const YAML::Node& entry : entries) {
    own_text = own_text || (entry.IsMap() && entry["TXT"]);
  }
  for (const YAML::Node& entry : entries) {
    if (entry.IsScalar()) {
      if (entry.as<std::string>() != "TIMEOUT") throw std::runtime_error("unknown entry");
      node.fault = Fault::kSilent;
      continue;
    }
    for (const auto& record : entry) {
      const auto kind = record.first.as<std::string>();
      if (kind == "SPF" && own_text) continue;
      if (record.second.IsScalar() && record.second.as<std::string>() == "NONE") continue;
      add_record(node, kind, record.second);
    }
  }
}

void load_yaml(const std::string& path, const std::string& suite, SpfSuites& suites) {
  int scenario = 0;
  for (const YAML::Node& document : YAML::LoadAllFromFile(path)) {
    if (!document["tests"]) continue;
    ++scenario;
    auto zone = std::make_shared<Zone>();
    for (const auto& name : document["zonedata"]) {
      add_name(*zone, name.first.as<std::string>(), name.second);
    }
    for (const auto& test : document["tests"]) {
      const YAML::Node& fields = test.second;
      SpfCase made;
      made.id = suite + "/" + std::to_string(scenario) + "/" + test.first.as<std::string>();
      made.zone = zone;
      made.host = fields["host"].as<std::string>();
      made.mail_from = fields["mailfrom"].as<std::string>();
      made.helo = fields["helo"].as<std::string>();
      made.results = strings_of(fields["result"]);
      if (fields["explanation"]) made.explanation = fields["explanation"].as<std::string>();
      suites.cases.push_back(std::move(made));
    }
  }
}

void load_json(const std::string& path, SpfSuites& suites) {
  const YAML::Node document = YAML::LoadFile(path);
  for (const YAML::Node& test : document["evaluation"]) {
    auto zone = std::make_shared<Zone>();
    for (const auto& name : test["zonedata"]) {
      Node& node = zone->at(name.first.as<std::string>());
      for (const auto& kind : name.second) {
        for (const YAML::Node& value : kind.second) {
          auto data = value.as<std::string>();
          YAML::Node words(YAML::NodeType::Sequence);
          if (kind.first.as<std::string>() == "MX") {
            words.push_back(data.substr(0, data.find(' ')));
            data.erase(0, data.find(' ') + 1);
          }
          words.push_back(data);
          add_record(node, kind.first.as<std::string>(), words);
        }
      }
    }
    suites.cases.push_back({"mailauth/" + test["id"].as<std::string>(),
                            zone,
                            test["host"].as<std::string>(),
                            test["mailfrom"].as<std::string>(),
                            test["helo"].as<std::string>(),
                            {test["result"].as<std::string>()},
                            ""});
  }
  for (const YAML::Node& macro : document["macros"]) {
    suites.macros.push_back({macro["macro"].as<std::string>(), macro["sender"].as<std::string>(),
                             macro["domain"].as<std::string>(),
                             macro["ip"] ? macro["ip"].as<std::string>() : "",
                             macro["out"].as<std::string>()});
  }
}

}  // namespace

SpfSuites load_spf_suites() {
  SpfSuites suites;
  const std::string folder = MXRING_CORPORA;
  if (!std::filesystem::exists(folder + "/spf-openspf-rfc7208")) {
    suites.missing = "no SPF suites in " + folder;
    return suites;
  }
  load_yaml(folder + "/spf-openspf-rfc7208/rfc7208-tests-2014-05.yml", "openspf", suites);
  load_yaml(folder + "/spf-pyspf-own/test.yml", "pyspf", suites);
  load_json(folder + "/spf-mailauth/cases.json", suites);
  std::ifstream exceptions(MXRING_TEST_DATA "/spf_exceptions.txt");
  for (std::string line; std::getline(exceptions, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t space = line.find(' ');
    suites.exceptions[line.substr(0, space)] = line.substr(space + 1);
  }
  return suites;
}

#else

SpfSuites load_spf_suites() {
  SpfSuites suites;
  suites.missing = "yaml-cpp was not there when this was built";
  return suites;
}

#endif

}  // namespace mxring::test
