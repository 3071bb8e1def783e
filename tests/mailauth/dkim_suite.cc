#include "tests/mailauth/dkim_suite.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/mailauth/dkim_check.h"

#ifdef MXRING_HAVE_YAML
#include <yaml-cpp/yaml.h>
#endif

namespace mxring::test {

#ifdef MXRING_HAVE_YAML

namespace {

namespace fs = std::filesystem;
const fs::path kCorpora = MXRING_CORPORA;

// The corpora's last cases were made before this.
constexpr std::int64_t kGoNow = 1'710'000'000;

std::shared_ptr<const Zone> zone_of(const YAML::Node& names) {
  auto zone = std::make_shared<Zone>();
  for (const auto& entry : names) {
    zone->at(entry.first.as<std::string>()).texts.push_back({entry.second.as<std::string>()});
  }
  return zone;
}

void load_mail_auth(DkimSuites& suites) {
  const fs::path folder = kCorpora / "dkim-mail-auth";
  for (const auto& entry : YAML::LoadFile(folder / "cases.json")) {
    DkimCase test;
    test.id = "mail-auth/" + entry["id"].as<std::string>();
    test.message = with_crlf(read_file(folder / entry["file"].as<std::string>()));
    test.zone = zone_of(entry["zone"]);
    test.now_unix_s = entry["now"].as<std::int64_t>();
    // All of them pass in an independent checker, and so they must here.
    test.results = {"pass"};
    test.each = true;
    suites.cases.push_back(std::move(test));
  }
}

void load_go_msgauth(DkimSuites& suites) {
  const fs::path folder = kCorpora / "dkim-go-msgauth";
  const YAML::Node all = YAML::LoadFile(folder / "cases.json");
  const auto zone = zone_of(all["zone"]);
  for (const auto& entry : all["cases"]) {
    DkimCase test;
    test.id = "go-msgauth/" + entry["id"].as<std::string>();
    test.message = with_crlf(read_file(folder / entry["file"].as<std::string>()));
    test.zone = zone;
    if (entry["expect"].IsSequence()) {
      for (const auto& word : entry["expect"]) test.results.push_back(word.as<std::string>());
    }
    suites.cases.push_back(std::move(test));
  }
  for (const char* kind : {"simple_body", "relaxed_body", "relaxed_header"}) {
    int number = 0;
    for (const auto& entry : all["canonicalization"][kind]) {
      CanonVector vector;
      vector.id = std::string(kind) + "/" + std::to_string(number++);
      vector.kind = kind;
      for (const auto& chunk : entry["chunks"]) vector.chunks.push_back(chunk.as<std::string>());
      vector.out = entry["out"].as<std::string>();
      suites.vectors.push_back(std::move(vector));
    }
  }
}

// "name: text", a backslash at the end of a line goes on in the next.
std::shared_ptr<const Zone> chasquid_zone(const std::string& path) {
  auto zone = std::make_shared<Zone>();
  std::string text = read_file(path);
  for (std::size_t at; (at = text.find("\\\n")) != std::string::npos;) text.erase(at, 2);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    Node& node = zone->at(line.substr(0, colon));
    std::string value = line.substr(colon + 2);
    value.erase(0, value.find_first_not_of(' '));
    if (value == "TEMPERROR") {
      node.fault = Fault::kServerFailure;
    } else if (value != "PERMERROR" && value != "NOTFOUND") {
      node.texts.push_back({value});
    }
  }
  return zone;
}

void load_chasquid(DkimSuites& suites) {
  const fs::path folder = kCorpora / "dkim-chasquid";
  for (const auto& file : fs::directory_iterator(folder)) {
    if (file.path().extension() != ".msg") continue;
    const std::string stem = file.path().stem();
    const auto with = [&](const char* extension) { return folder / (stem + extension); };
    DkimCase test;
    test.id = "chasquid/" + stem;
    test.message = with_crlf(read_file(file.path()));
    test.zone = fs::exists(with(".dns")) ? chasquid_zone(with(".dns")) : std::make_shared<Zone>();
    test.now_unix_s = kGoNow;
    test.signatures_max = 5;  // chasquid's own limit
    if (fs::exists(with(".result"))) {
      for (const auto& result : YAML::LoadFile(with(".result"))["Results"]) {
        const std::string state = result["State"].as<std::string>();
        test.results.push_back(state == "SUCCESS"    ? "pass"
                               : state == "TEMPFAIL" ? "temperror"
                                                     : "not-pass");
      }
    }
    suites.cases.push_back(std::move(test));
  }
}

std::shared_ptr<const Zone> perl_zone(const std::string& path) {
  auto zone = std::make_shared<Zone>();
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t space = line.find(' ');
    Node& node = zone->at(line.substr(0, space));
    std::string value = line.substr(std::min(line.find_first_not_of(' ', space), line.size()));
    if (value.starts_with("~~")) {
      node.fault = value == "~~SERVFAIL~~" ? Fault::kServerFailure : Fault::kSilent;
    } else if (value != "NXDOMAIN") {
      node.texts.push_back({value == "\"\"" ? "" : value});
    }
  }
  return zone;
}

void load_perl(DkimSuites& suites) {
  const fs::path folder = kCorpora / "dkim-perl-mail-dkim";
  const auto zone = perl_zone(folder / "FAKE_DNS.dat");
  for (const auto& entry : YAML::LoadFile(folder / "cases.json")) {
    DkimCase test;
    const std::string file = entry["file"].as<std::string>();
    test.id = "perl-mail-dkim/" + fs::path(file).stem().string();
    test.message = with_crlf(read_file(folder / file));
    test.zone = zone;
    const std::string modern = entry["expect_modern"].as<std::string>();
    test.results = {modern.starts_with("none-or-not-pass") ? "not-pass" : modern};
    test.each = true;
    suites.cases.push_back(std::move(test));
  }
}

void load_exceptions(DkimSuites& suites) {
  std::istringstream lines(read_file(MXRING_TEST_DATA "/dkim_exceptions.txt"));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) throw std::runtime_error("dkim_exceptions.txt: " + line);
    suites.exceptions[line.substr(0, colon)] = line.substr(colon + 2);
  }
}

}  // namespace

DkimSuites load_dkim_suites() {
  DkimSuites suites;
  if (!fs::exists(kCorpora / "dkim-mail-auth")) {
    suites.missing = "no corpora at " + kCorpora.string();
    return suites;
  }
  load_mail_auth(suites);
  load_go_msgauth(suites);
  load_chasquid(suites);
  load_perl(suites);
  load_exceptions(suites);
  std::ranges::sort(suites.cases, {}, &DkimCase::id);
  return suites;
}

#else

DkimSuites load_dkim_suites() {
  return {.missing = "built without yaml-cpp", .cases = {}, .vectors = {}, .exceptions = {}};
}

#endif

bool as_expected(const DkimCase& test, const std::vector<std::string>& results) {
  if (!test.each && results.size() != test.results.size()) return false;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::string& wanted = test.results[test.each ? 0 : i];
    if (wanted == "any") continue;
    if (wanted == "not-pass" ? results[i] == "pass" : results[i] != wanted) return false;
  }
  // "For each" says nothing about a message on which no signature was found.
  return !(test.each && results.empty() && test.results[0] != "not-pass");
}

}  // namespace mxring::test
