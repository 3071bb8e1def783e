// `mxring dkim` as a domain owner uses it: a key is made, its record published on a DNS server, a
// message signed, and the signature checked as it is and after what happens to mail on its way.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/dns/test_dns_server.h"
#include "tests/mailauth/dkim_check.h"
#include "tests/support/temp_dir.h"

namespace mxring::test {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string out;  // standard output, and with "2>&1" in the arguments standard error too
};

class DkimCommandTest : public testing::Test {
 protected:
  Outcome run(const std::string& arguments, const std::string& input = {}) {
    std::ofstream(folder_.path() / "input", std::ios::binary) << input;
    const std::string command =
        "cd " + folder_.path().string() + " && " MXRING_PROGRAM " dkim " + arguments + " < input";
    Outcome outcome;
    FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) return outcome;
    std::array<char, 4096> part{};
    for (std::size_t got; (got = std::fread(part.data(), 1, part.size(), pipe)) > 0;) {
      outcome.out.append(part.data(), got);
    }
    const int status = ::pclose(pipe);
    if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
    return outcome;
  }
  // The value of a string member; of the first object that has it.
  static std::string member(const std::string& json, const std::string& key) {
    const std::string start = "\"" + key + "\":\"";
    const std::size_t at = json.find(start);
    if (at == std::string::npos) return "(missing)";
    const std::size_t begin = at + start.size();
    return json.substr(begin, json.find('"', begin) - begin);
  }
  void make_key(const std::string& type) {
    const Outcome made =
        run("keygen --domain example.org --selector " + type + " --type " + type + " --json");
    ASSERT_EQ(made.exit_code, 0) << made.out;
    EXPECT_EQ(member(made.out, "record_name"), type + "._domainkey.example.org");
    key_file_ = member(made.out, "private_key_file");
    // In two strings, as long records are.
    const std::string value = member(made.out, "record_value");
    zone_.at(member(made.out, "record_name"))
        .texts.push_back({value.substr(0, value.size() / 2), value.substr(value.size() / 2)});
    server_.set_zone(zone_);
  }
  Outcome sign(const std::string& type, const std::string& message, const std::string& more = {}) {
    return run("sign --key " + key_file_ + " --domain example.org --selector " + type + " " + more,
               message);
  }
  Outcome verify(const std::string& message, const std::string& more = "--json") {
    return run("verify --resolver " + server_.address() + " " + more, message);
  }

  TempDir folder_;
  Zone zone_;
  TestDnsServer server_{Zone()};
  std::string key_file_;
};

constexpr const char* kLetter =
    "From: a@example.org\nTo: b@example.net\nSubject: a\n letter\n\nHello,\n\n  there. \n";

TEST_F(DkimCommandTest, KeygenSignVerify) {
  for (const char* type : {"rsa", "ed25519"}) {
    make_key(type);
    struct stat info {};
    ASSERT_EQ(::stat((folder_.path() / key_file_).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
    const Outcome again =
        run("keygen --domain example.org --selector " + std::string(type) + " 2>&1");
    EXPECT_EQ(again.exit_code, 1);
    EXPECT_NE(again.out.find("exists"), std::string::npos) << again.out;
    for (const char* how :
         {"relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"}) {
      const Outcome with = sign(type, kLetter, std::string("--canonicalization ") + how);
      ASSERT_EQ(with.exit_code, 0);
      EXPECT_TRUE(with.out.ends_with(with_crlf(kLetter)));
      const Outcome checked = verify(with.out);
      EXPECT_EQ(checked.exit_code, 0);
      EXPECT_EQ(member(checked.out, "result"), "pass") << checked.out;
      EXPECT_EQ(member(checked.out, "domain"), "example.org");
      EXPECT_EQ(member(checked.out, "selector"), type);
      EXPECT_EQ(member(checked.out, "algorithm"), std::string(type) + "-sha256");
      EXPECT_EQ(member(checked.out, "reason"), "");
    }
  }
}

TEST_F(DkimCommandTest, SaysWhatHappened) {
  make_key("rsa");
  const std::string with = sign("rsa", kLetter).out;
  const auto text = [&](const std::string& message, const std::string& more = {}) {
    return verify(message, more).out;
  };
  EXPECT_NE(text(with).find("that there is no (other) From"), std::string::npos) << text(with);
  const std::string footer = text(with + "-- \r\nA list's footer\r\n");
  EXPECT_NE(footer.find("fail"), std::string::npos);
  EXPECT_NE(footer.find("matches without the last 2 lines"), std::string::npos) << footer;
  std::string changed = with;
  changed[changed.find("Hello")] = 'J';
  EXPECT_NE(text(changed).find("the body is not the one that was signed"), std::string::npos);
  changed = with;
  changed[changed.find("Subject: a") + 9] = 'b';
  EXPECT_NE(text(changed).find("one of the fields above was changed"), std::string::npos);
  EXPECT_NE(text(kLetter).find("none"), std::string::npos);
  EXPECT_EQ(verify(kLetter).out, "{\"signatures\":[],\"ignored\":0}\n");
  server_.set_zone(Zone());
  EXPECT_NE(text(with).find("no key for signature"), std::string::npos);
  server_.set_dead(true);
  EXPECT_EQ(member(verify(with, "--json --timeout 200ms").out, "result"), "temperror");
}

TEST_F(DkimCommandTest, TimesAndLineEnds) {
  make_key("ed25519");
  const std::string with = sign("ed25519", kLetter, "--now 1000 --expire 1h").out;
  EXPECT_NE(with.find("t=1000; x=4600;"), std::string::npos) << with;
  EXPECT_EQ(member(verify(with, "--json --now 4600").out, "result"), "pass");
  EXPECT_EQ(member(verify(with, "--json --now 4601").out, "result"), "policy");
  // With LF line ends, as it may lie in a file.
  std::string lf = with;
  std::erase(lf, '\r');
  EXPECT_EQ(member(verify(lf, "--json --now 4600").out, "result"), "pass");
  EXPECT_EQ(verify(lf, "--json --exact --now 4600").out.find("\"pass\""), std::string::npos);
  const std::string said = verify(lf, "--now 4600 2>&1").out;
  EXPECT_NE(said.find("bare LF line ends made CRLF"), std::string::npos) << said;
}

TEST_F(DkimCommandTest, Mistakes) {
  make_key("ed25519");
  EXPECT_EQ(run("keygen --domain example --selector s 2>&1").exit_code, 2);
  EXPECT_EQ(run("keygen --domain example.org --selector ../s 2>&1").exit_code, 2);
  EXPECT_EQ(run("keygen --domain example.org --selector s --bits 512 2>&1").exit_code, 2);
  EXPECT_EQ(run("keygen --domain example.org --selector s --out /nonexistent 2>&1").exit_code, 1);
  EXPECT_EQ(sign("ed25519", "To: nobody\n\n", "2>&1").exit_code, 1);
  EXPECT_EQ(sign("ed25519", kLetter, "--expire 0s 2>&1").exit_code, 2);
  EXPECT_EQ(sign("ed25519", kLetter, "--fields to:subject 2>&1").exit_code, 1);
  EXPECT_EQ(run("sign --key input --domain example.org --selector s 2>&1", "not PEM").exit_code, 1);
  EXPECT_EQ(run("verify /nonexistent 2>&1").exit_code, 1);
  EXPECT_EQ(run("2>&1").exit_code, 2);
}

}  // namespace
}  // namespace mxring::test
