// Reads the includes of every source and fails when one points up, sideways, or past the module
// that may use a library. The table is the one of src/ARCHITECTURE.md, with the numbers.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace fs = std::filesystem;

const std::map<std::string, int, std::less<>> kLayers{
    {"base", 0},   {"obs", 1},  {"spsc", 2},   {"crypto", 2}, {"mail", 2},     {"uring", 2},
    {"smtp", 3},   {"dns", 3},  {"seglog", 3}, {"net", 3},    {"mailauth", 4}, {"decode", 4},
    {"server", 5}, {"load", 5}, {"report", 5}, {"relay", 5},  {"tune", 5},     {"cli", 6},
};

// Folders of a module that keep the same rule among themselves; the module's own files are the
// last.
const std::map<std::string, int, std::less<>> kFolders{
    {"mailauth/result", 0}, {"mailauth/spf", 1},     {"mailauth/dkim", 1}, {"mailauth/dmarc", 1},
    {"mailauth/arc", 2},    {"mailauth/authres", 3}, {"mailauth", 4},
};

struct Library {
  std::string_view prefix;  // of what stands between the brackets or quotes
  std::set<std::string_view> users;
};

const std::vector<Library> kLibraries{
    {"liburing", {"uring"}},
    {"linux/io_uring.h", {"uring"}},
    {"wolfssl/", {"crypto", "net"}},
    {"ares.h", {"dns"}},
    {"ares_", {"dns"}},
    {"idn2.h", {"mail"}},
    {"nlohmann/", {"cli", "report"}},
    {"zlib.h", {"decode", "report"}},
    {"iconv.h", {"mail"}},
    {"curl/", {"relay"}},
    {"nats/", {"relay"}},
};

// What the line includes: `<x>` and `"x"` give x.
std::optional<std::string> included(std::string_view line) {
  const auto skip_blanks = [&] {
    while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
  };
  skip_blanks();
  if (!line.starts_with('#')) return std::nullopt;
  line.remove_prefix(1);
  skip_blanks();
  constexpr std::string_view kInclude = "include";
  if (!line.starts_with(kInclude)) return std::nullopt;
  line.remove_prefix(kInclude.size());
  skip_blanks();
  if (line.empty() || (line[0] != '<' && line[0] != '"')) return std::nullopt;
  const char closing = line[0] == '<' ? '>' : '"';
  line.remove_prefix(1);
  return std::string(line.substr(0, line.find(closing)));
}

const fs::path kSource = MXRING_SOURCE;

// Why `module` must not include `target`; empty when it may.
std::string objection(const std::string& module, const std::string& target) {
  for (const Library& library : kLibraries) {
    if (target.starts_with(library.prefix) && !library.users.contains(module)) {
      return "only the module that wraps this library may include it";
    }
  }
  const std::size_t slash = target.find('/');
  if (slash == std::string::npos) return "";
  const std::string folder = target.substr(0, slash);
  if (folder == module || folder == "mxring") return "";
  const auto to = kLayers.find(folder);
  // A library's or the system's folder, which may bear the name of one of ours (net/if.h).
  if (to == kLayers.end() || !fs::exists(kSource / "src" / target)) return "";
  const auto from = kLayers.find(module);
  if (from == kLayers.end()) return "the module " + module + " has no layer";
  if (to->second < from->second) return "";
  return to->second == from->second ? "sideways: both are in layer " + std::to_string(to->second)
                                    : "upward: from layer " + std::to_string(from->second) +
                                          " to " + std::to_string(to->second);
}

// The same inside a module, for the file at `path` below src.
std::string objection_within(const std::string& path, const std::string& target) {
  const std::string own = fs::path(path).parent_path().string();
  const std::string other = fs::path(target).parent_path().string();
  const auto from = kFolders.find(own);
  const auto to = kFolders.find(other);
  if (own == other || *fs::path(own).begin() != *fs::path(other).begin()) return "";
  if (from == kFolders.end() && to == kFolders.end()) return "";  // a module without such a rule
  if (from == kFolders.end()) return "the folder " + own + " has no place among the others";
  if (to == kFolders.end()) return "the folder " + other + " has no place among the others";
  return to->second < from->second ? "" : "from folder " + own + " up or sideways to " + other;
}

bool is_source(const fs::path& path) {
  return path.extension() == ".h" || path.extension() == ".cc";
}

TEST(LayeringTest, TheRulesObjectWhereTheyShould) {
  EXPECT_EQ(objection("net", "uring/ring.h"), "");
  EXPECT_EQ(objection("net", "net/listener.h"), "");
  EXPECT_EQ(objection("seglog", "mxring/record.h"), "");
  EXPECT_EQ(objection("uring", "sys/uio.h"), "");
  EXPECT_EQ(objection("uring", "net/if.h"), "");
  EXPECT_EQ(objection("uring", "liburing.h"), "");
  EXPECT_EQ(objection("cli", "server/config.h"), "");
  EXPECT_NE(objection("base", "obs/counters.h"), "");    // upward
  EXPECT_NE(objection("smtp", "net/connection.h"), "");  // sideways
  EXPECT_NE(objection("spsc", "uring/ring.h"), "");      // sideways
  EXPECT_NE(objection("net", "liburing.h"), "");
  EXPECT_NE(objection("net", "liburing/io_uring.h"), "");
  EXPECT_NE(objection("server", "wolfssl/ssl.h"), "");
  EXPECT_NE(objection("server", "ares.h"), "");
  EXPECT_NE(objection("newmodule", "base/assert.h"), "");  // must be given a layer first
  EXPECT_EQ(objection_within("mailauth/dkim/verifier.h", "mailauth/dkim/signature.h"), "");
  EXPECT_EQ(objection_within("mailauth/evaluation.h", "mailauth/arc/verifier.h"), "");
  EXPECT_EQ(objection_within("mailauth/arc/verifier.h", "mailauth/dkim/key_proof.h"), "");
  EXPECT_EQ(objection_within("server/server.h", "server/shard.h"), "");
  EXPECT_EQ(objection_within("mailauth/arc/verifier.h", "mail/lexer.h"), "");
  EXPECT_NE(objection_within("mailauth/dkim/verifier.h", "mailauth/spf/evaluator.h"), "");
  EXPECT_NE(objection_within("mailauth/arc/arc_set.cc", "mailauth/authres/parser.h"), "");
  EXPECT_NE(objection_within("mailauth/spf/evaluator.h", "mailauth/evaluation.h"), "");
  EXPECT_NE(objection_within("mailauth/new/x.h", "mailauth/result/result.h"), "");
  EXPECT_EQ(included("#include \"base/json.h\"").value_or(""), "base/json.h");
  EXPECT_EQ(included("  #  include <ares.h> // why").value_or(""), "ares.h");
  EXPECT_FALSE(included("// #include \"base/json.h\"").has_value());
}

TEST(LayeringTest, EveryIncludePointsDown) {
  std::size_t includes = 0;
  std::set<std::string> modules;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "src")) {
    if (!entry.is_regular_file() || !is_source(entry.path())) continue;
    const fs::path relative = fs::relative(entry.path(), kSource / "src");
    const std::string module = relative.begin()->string();
    modules.insert(module);
    EXPECT_TRUE(kLayers.contains(module)) << relative << " is in no module with a layer";
    std::ifstream file(entry.path());
    int number = 0;
    for (std::string line; std::getline(file, line);) {
      ++number;
      const auto target = included(line);
      if (!target) continue;
      ++includes;
      const std::string why = objection(module, *target);
      EXPECT_EQ(why, "") << "src/" << relative.string() << ':' << number << " includes " << *target;
      EXPECT_EQ(objection_within(relative.string(), *target), "")
          << "src/" << relative.string() << ':' << number << " includes " << *target;
    }
  }
  EXPECT_GE(modules.size(), 5U) << "the sources were not found under " << kSource;
  EXPECT_GE(includes, 100U);
}

TEST(LayeringTest, PublicHeadersStandAlone) {
  std::size_t headers = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "include")) {
    if (!entry.is_regular_file() || !is_source(entry.path())) continue;
    ++headers;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      const auto target = included(line);
      if (!target) continue;
      const std::string folder = target->substr(0, target->find('/'));
      EXPECT_FALSE(kLayers.contains(folder))
          << entry.path() << " includes " << *target << ", which is not installed";
    }
  }
  EXPECT_GE(headers, 1U);
}

// The build must agree: a module links only modules of lower layers.
TEST(LayeringTest, EveryTargetLinksDown) {
  for (const auto& [module, layer] : kLayers) {
    std::ifstream file(kSource / "src" / module / "CMakeLists.txt");
    bool in_links = false;
    for (std::string word; file >> word;) {
      const bool last = word.ends_with(')');
      if (last) word.pop_back();
      if (word == "LINKS") {
        in_links = true;
      } else if (word == "SOURCES" || word == "HEADERS" || word == "PRIVATE_LIBS" ||
                 word == "PUBLIC_LIBS") {
        in_links = false;
      } else if (in_links && kLayers.contains(word)) {
        EXPECT_LT(kLayers.at(word), layer) << module << " links " << word;
      }
      if (last) in_links = false;
    }
  }
}

}  // namespace
