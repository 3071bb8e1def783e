// Keys from the environment: every key of the table by its variable, in the form a shell has it;
// what is wrong is named with the variable and, where there is one, the name that was meant.
#include "server/config_environment.h"

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <vector>

#include "server/config.h"

namespace mxring::server {
namespace {

ConfigDraft laid_over(std::string_view file, const std::vector<std::string>& variables) {
  ConfigDraft draft = read_config(file, "t.toml");
  std::vector<const char*> entries;
  for (const std::string& variable : variables) entries.push_back(variable.c_str());
  entries.push_back(nullptr);
  lay_environment(draft, entries.data());
  return draft;
}

std::string mistakes(const std::vector<std::string>& variables) {
  std::string all;
  for (const ConfigMistake& mistake : laid_over("", variables).mistakes) {
    all += mistake.text + '\n';
  }
  return all;
}

std::string variable_of(const ShownKey& key) {
  std::string name = key.section.empty() ? "" : std::string(key.section) + "__";
  name += key.name;
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "MXRING_" + name;
}

// A shown value without the quotes that the environment does without.
std::string bare(const std::string& shown) {
  std::string out;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (shown[i] == '\\') {
      out += shown[++i];
    } else if (shown[i] != '"') {
      out += shown[i];
    }
  }
  return out;
}

// A value other than the default that the key takes, as TOML; empty when none of these is one.
std::string another_value(const ShownKey& key) {
  std::vector<std::string> tries{"true",
                                 "false",
                                 "\"1.3\"",
                                 "\"epoll\"",
                                 "\"none\"",
                                 "\"drop\"",
                                 "\"logfmt\"",
                                 "\"accept\"",
                                 "\"32KiB\"",
                                 "\"64KiB\"",
                                 "\"300MiB\"",
                                 "\"90s\"",
                                 "\"3h\"",
                                 "\"unix:/run/mxring/admin\"",
                                 "\"mx.example.org\"",
                                 "[{certificate = \"a, b\", key = \"c\"}]",
                                 "[\"192.0.2.1:2500\", \"[2001:db8::1]:25\"]",
                                 "[\"192.0.2.0/24\", \"2001:db8::/32\"]",
                                 "[\"recipient: bounces+{}@*\"]",
                                 "[\"example.org\", \"example.net\"]",
                                 "[\"archive@example.org\", \"@example.net\"]"};
  for (const char* number : {"1024", "4096", "600", "17", "3", "1"}) tries.push_back(number);
  for (const std::string& value : tries) {
    std::string text = key.section.empty() ? "" : '[' + std::string(key.section) + "]\n";
    text += std::string(key.name) + " = " + value + '\n';
    const auto config = parse_config(text, "t.toml");
    if (!config) continue;
    for (const ShownKey& shown : shown_keys(*config)) {
      if (shown.path() == key.path() && shown.value != key.value) return shown.value;
    }
  }
  return {};
}

TEST(ConfigEnvironment, EveryKeyHasAVariable) {
  const std::vector<ShownKey> defaults = shown_keys(default_config());
  std::vector<std::string> wanted;
  std::vector<std::string> variables;
  for (const ShownKey& key : defaults) {
    wanted.push_back(another_value(key));
    ASSERT_FALSE(wanted.back().empty()) << key.path() << ": none of the values fits";
    const std::string& value = wanted.back();
    variables.push_back(variable_of(key) + '=' + (value.starts_with('[') ? value : bare(value)));
  }
  const ConfigDraft draft = laid_over("", variables);
  for (const ConfigMistake& mistake : draft.mistakes) ADD_FAILURE() << mistake.text;
  const std::vector<ShownKey> got = shown_keys(draft.config);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_EQ(got[i].value, wanted[i]) << variables[i];
    const auto at = draft.config.set_at.find(defaults[i].path());
    ASSERT_NE(at, draft.config.set_at.end()) << variables[i];
    EXPECT_EQ(at->second, variable_of(defaults[i]));
  }
}

TEST(ConfigEnvironment, ListsWithCommas) {
  for (const char* value :
       {"127.0.0.1:25,[::1]:25", " 127.0.0.1:25 , [::1]:25 ", "[\"127.0.0.1:25\", \"[::1]:25\"]",
        "[ '127.0.0.1:25',\n\t'[::1]:25' ]"}) {
    const ConfigDraft draft = laid_over("", {std::string("MXRING_LISTEN__SMTP=") + value});
    EXPECT_TRUE(draft.mistakes.empty()) << draft.mistakes[0].text;
    ASSERT_EQ(draft.config.listen.smtp.size(), 2u) << value;
    EXPECT_EQ(draft.config.listen.smtp[1].to_string(), "[::1]:25");
  }
  const ConfigDraft six = laid_over("", {"MXRING_LISTEN__SMTP=[::1]:25,127.0.0.1:25"});
  ASSERT_EQ(six.config.listen.smtp.size(), 2u);
  const ConfigDraft pattern =
      laid_over("", {"MXRING_DECODE__BOUNCE_TOKENS=[\"recipient: a,{}@*\"]"});
  ASSERT_EQ(pattern.config.decode.bounce_tokens.size(), 1u);
  EXPECT_EQ(pattern.config.decode.bounce_tokens[0], "recipient: a,{}@*");
  const ConfigDraft none = laid_over("[dns]\nservers = [\"192.0.2.53\"]", {"MXRING_DNS__SERVERS="});
  EXPECT_TRUE(none.config.dns.servers.empty());
}

TEST(ConfigEnvironment, GoesOverTheFile) {
  const ConfigDraft draft = laid_over(
      "hostname = \"mx.example.org\"\n[limits]\nmessage_size = \"none\"\nrecipients = 500\n",
      {"MXRING_LIMITS__MESSAGE_SIZE=150MiB", "MXRING_HOSTNAME=mx.example.net"});
  EXPECT_TRUE(draft.mistakes.empty()) << draft.mistakes[0].text;
  EXPECT_EQ(draft.config.hostname, "mx.example.net");
  EXPECT_EQ(draft.config.limits.message_bytes, 150u << 20);
  EXPECT_EQ(draft.config.limits.recipients, 500u);
  // Whoever names a listener means it, whether in the file or here.
  EXPECT_TRUE(laid_over("", {"MXRING_LISTEN__SMTP=127.0.0.1:25"}).config.listen.smtps.empty());
  EXPECT_EQ(laid_over("[listen]\nsmtps = [\"127.0.0.1:465\"]", {"MXRING_LISTEN__SMTP=127.0.0.1:25"})
                .config.listen.smtps.size(),
            1u);
  EXPECT_EQ(laid_over("", {"MXRING_HOSTNAME=mx.example.net"}).config.listen.smtps.size(), 1u);
}

TEST(ConfigEnvironment, WhatTheWholeForbidsNamesTheVariable) {
  const ConfigDraft draft =
      laid_over("", {"MXRING_LIMITS__MESSAGE_SIZE=1GiB", "MXRING_LISTEN__SMTP=127.0.0.1:25"});
  const auto valid = validate(draft);
  ASSERT_FALSE(valid.has_value());
  EXPECT_NE(valid.error().message.find("message_size"), std::string::npos);
  const auto crossed = validate(laid_over("", {"MXRING_LIMITS__ERRORS_SOFT=30"}));
  ASSERT_FALSE(crossed.has_value());
  EXPECT_EQ(crossed.error().message,
            "MXRING_LIMITS__ERRORS_SOFT: limits.errors_soft must not exceed errors_hard");
}

TEST(ConfigEnvironment, WrongNamesAreMistakes) {
  EXPECT_EQ(mistakes({"MXRING_LISTEN__SMPT=127.0.0.1:25"}),
            "MXRING_LISTEN__SMPT: no key has this name; did you mean MXRING_LISTEN__SMTP?\n");
  EXPECT_EQ(mistakes({"MXRING_LISTEN_SMTP=127.0.0.1:25"}),
            "MXRING_LISTEN_SMTP: no key has this name; did you mean MXRING_LISTEN__SMTP?\n");
  EXPECT_EQ(mistakes({"MXRING_listen__smtp=127.0.0.1:25"}),
            "MXRING_listen__smtp: no key has this name; did you mean MXRING_LISTEN__SMTP?\n");
  EXPECT_EQ(mistakes({"MXRING_HOSTNAM=mx.example.org"}),
            "MXRING_HOSTNAM: no key has this name; did you mean MXRING_HOSTNAME?\n");
  EXPECT_EQ(mistakes({"MXRING__HOSTNAME=mx.example.org"}),
            "MXRING__HOSTNAME: no key has this name; did you mean MXRING_HOSTNAME?\n");
  EXPECT_EQ(mistakes({"MXRING_NOTHING__LIKE_ANY_OF_THEM=1"}),
            "MXRING_NOTHING__LIKE_ANY_OF_THEM: no key has this name\n");
  EXPECT_EQ(mistakes({"MXRING_HOSTNAME__=a.example", "MXRING___=1"}).find("\n\n"),
            std::string::npos);
  // What Kubernetes and others set is not ours, nor is a name without our prefix.
  EXPECT_EQ(mistakes({"MXRING_PORT=tcp://10.0.0.7:25", "MXRING_PORT_25_TCP_ADDR=10.0.0.7",
                      "MXRING_SERVICE_HOST=10.0.0.7", "MXRING_SERVICE_PORT_SMTP=25",
                      "LISTEN__SMTP=x", "MXRING_", "MXRING_IMAGE=x", "no equals sign"}),
            "");
}

TEST(ConfigEnvironment, WrongValuesAreMistakes) {
  struct Wrong {
    const char* variable;
    const char* message;
  };
  for (const auto& [variable, message] : {
           Wrong{"MXRING_LIMITS__RECIPIENTS=many", "limits.recipients must be a whole number"},
           Wrong{"MXRING_LIMITS__RECIPIENTS=", "limits.recipients must be a whole number"},
           Wrong{"MXRING_LIMITS__RECIPIENTS=1e3", "limits.recipients must be a whole number"},
           Wrong{"MXRING_LIMITS__MESSAGE_SIZE=huge", "limits.message_size must be a size"},
           Wrong{"MXRING_LOG__RETAIN_AGE=30 days", "log.retain_age must be a duration"},
           Wrong{"MXRING_TLS__TICKETS=yes", "tls.tickets must be true or false"},
           Wrong{"MXRING_TLS__TICKETS=1", "tls.tickets must be true or false"},
           Wrong{"MXRING_LOG__SYNC=always", "log.sync must be \"commit\" or \"none\""},
           Wrong{"MXRING_LISTEN__SMTP=127.0.0.1", "listen.smtp: \"127.0.0.1\""},
           Wrong{"MXRING_LISTEN__SMTP=127.0.0.1:1,,127.0.0.1:2", "empty element"},
           Wrong{"MXRING_LISTEN__SMTP=127.0.0.1:1,", "ends with a comma"},
           Wrong{"MXRING_LISTEN__SMTP=[\"127.0.0.1:1\"", "is no list"},
           Wrong{"MXRING_LISTEN__SMTP=[\"127.0.0.1:1\"]\nuser = \"x\"", "is no list"},
           Wrong{"MXRING_LOG__DIR=\"/data\"", "stands without quotes"},
           Wrong{"MXRING_LOG__DIR=/data\r", "control character"},
           Wrong{"MXRING_LOG__DIR=/\xff", "no UTF-8"},
           Wrong{"MXRING_TLS__CERTIFICATES=a.pem", "tls.certificates must be"},
       }) {
    const std::string found = mistakes({variable});
    const std::string name(variable, std::string_view(variable).find('='));
    EXPECT_TRUE(found.starts_with(name + ": ")) << variable << " -> " << found;
    EXPECT_NE(found.find(message), std::string::npos) << variable << " -> " << found;
  }
}

TEST(ConfigEnvironment, AFileThatIsNoTomlIsNotJudgedByItsRest) {
  const ConfigDraft draft = laid_over("[limits", {"MXRING_LIMITS__ERRORS_SOFT=30"});
  const auto valid = validate(draft);
  ASSERT_FALSE(valid.has_value());
  EXPECT_EQ(valid.error().message.find('\n'), std::string::npos) << valid.error().message;
}

}  // namespace
}  // namespace mxring::server
