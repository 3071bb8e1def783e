// The configuration file: what is read, what is refused, and that refusals point at the right
// place and name the nearest key.
#include "server/config.h"

#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>

namespace mxring::server {
namespace {

Config parsed(std::string_view text) {
  auto config = parse_config(text, "t.toml");
  EXPECT_TRUE(config.has_value()) << (config ? "" : config.error().message);
  return config ? *config : Config{};
}

std::string fault(std::string_view text) {
  const auto config = parse_config(text, "t.toml");
  return config ? "(no error)" : config.error().message;
}

std::string disagreement(std::string_view text) {
  const auto config = parse_config(text, "t.toml");
  if (!config) return "(refused already: " + config.error().message + ")";
  const auto valid = validate(*config);
  return valid ? "(no error)" : valid.error().message;
}

TEST(Config, CommentsAreSentencesOfAHundredColumns) {
  const std::string text = to_toml(default_config(), true);
  EXPECT_NE(text.find("(\"1.2\" or \"1.3\")\nminimum = "), std::string::npos) << text;
  std::istringstream lines(text);
  bool in_comment = false;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    const bool comment = line.starts_with("# ");
    EXPECT_TRUE(!comment || in_comment || std::isupper(line[2]) != 0) << line;
    in_comment = comment;
  }
}

TEST(Config, MissingQuotesAreNamed) {
  for (const char* value : {"25MiB", "30s", "commit", "example.org"}) {
    const std::string text = std::string("[limits]\nmessage_size = ") + value + "\n";
    EXPECT_NE(fault(text).find("; sizes, times and words are quoted: \"25MiB\""), std::string::npos)
        << fault(text);
    EXPECT_TRUE(fault(text).starts_with("t.toml:2:")) << fault(text);
  }
  EXPECT_EQ(fault("[limits\nrecipients = 500").find("quoted"), std::string::npos);
}

TEST(Config, EmptyFileIsTheDefaults) {
  const Config config = parsed("");
  ASSERT_EQ(config.listen.smtp.size(), 1u);
  EXPECT_EQ(config.listen.smtp[0].to_string(), "127.0.0.1:2525");
  ASSERT_EQ(config.listen.smtps.size(), 1u);
  EXPECT_EQ(config.listen.smtps[0].to_string(), "127.0.0.1:4650");
  EXPECT_EQ(config.log.dir, "./mxring-log");
  EXPECT_EQ(config.limits.message_bytes, 26'214'400u);
  EXPECT_TRUE(validate(config).has_value());
}

TEST(Config, SampleOfTheDocumentationIsRead) {
  const auto config = load_config(MXRING_TEST_DATA "/sample.toml");
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->hostname, "mx.example.org");
  ASSERT_EQ(config->listen.smtp.size(), 2u);
  EXPECT_EQ(config->listen.smtp[1].to_string(), "[::]:25");
  EXPECT_EQ(config->listen.smtps.at(0).to_string(), "0.0.0.0:465");
  EXPECT_EQ(config->listen.admin, "127.0.0.1:9925");
  EXPECT_EQ(config->log.segment_bytes, 256u << 20);
  EXPECT_EQ(config->log.sync, SyncMode::kCommit);
  EXPECT_EQ(config->dns.timeout_ns, 5'000'000'000);
  EXPECT_EQ(config->auth.on_dmarc_reject, mailauth::Disposition::kReject);
  EXPECT_EQ(config->auth.on_dmarc_temperror, mailauth::Disposition::kQuarantine);
  EXPECT_EQ(config->auth.on_dmarc_quarantine, mailauth::Disposition::kQuarantine);
}

TEST(Config, NamingOneListenerIsMeant) {
  EXPECT_TRUE(parsed("[listen]\nsmtp = [\"127.0.0.1:25\"]").listen.smtps.empty());
  EXPECT_EQ(disagreement("[listen]\nsmtp = []\nsmtps = [\"127.0.0.1:465\"]"), "(no error)");
  EXPECT_EQ(parsed("[listen]\nsmtps = []").listen.smtp.size(), 1u);
}

TEST(Config, CertificatesInEitherForm) {
  const Config tables = parsed(
      "[tls]\nstarttls = false\n[[tls.certificates]]\ncertificate = \"a\"\nkey = \"b\"\n"
      "[[tls.certificates]]\nkey = \"d\"\ncertificate = \"c\"\n");
  ASSERT_EQ(tables.tls.certificates.size(), 2u);
  EXPECT_EQ(tables.tls.certificates[1].certificate, "c");
  EXPECT_EQ(tables.tls.certificates[1].key, "d");
  EXPECT_FALSE(tables.tls.starttls);
  EXPECT_EQ(to_toml(parsed(to_toml(tables, false)), true), to_toml(tables, true));
}

TEST(Config, EveryKeyIsReadBackFromWhatIsShown) {
  Config config = default_config();
  config.hostname = "mx.example.net";
  config.listen.smtp = {*base::Endpoint::parse("[::1]:0"), *base::Endpoint::parse("127.0.0.1:25")};
  config.listen.smtps = {*base::Endpoint::parse("127.0.0.1:465")};
  config.listen.admin = "127.0.0.1:1";
  config.shards = {3, false, uring::EngineChoice::kEpoll, 32768, 64};
  config.log.dir = "a \"quoted\\ \n dir";
  config.log.segment_bytes = (64u << 20) + 1;
  config.log.sync = SyncMode::kNone;
  config.log.retain_bytes = 12'345;
  config.log.retain_age_ns = 7 * 86'400'000'000'000;
  config.log.commit_window_ns = 1'500'000;
  config.groups = {54'321, HoldFull::kDrop};
  config.tls = {"c.pem", "k.pem", {{"d.pem", "e.pem"}},  "1.3",
                false,   false,   3600LL * 1'000'000'000};
  config.dns.servers = {*base::Endpoint::parse("192.0.2.1:53")};
  config.dns.timeout_ns = 250'000'000;
  config.auth = {false,
                 false,
                 false,
                 mailauth::Disposition::kQuarantine,
                 mailauth::Disposition::kAccept,
                 mailauth::Disposition::kTempfail,
                 NoAuthor::kAccept};
  config.recipients.domains = {"example.org", "example.net"};
  config.decode.bounce_tokens = {"recipient: b+{}@*", "X-Campaign: \"{}\""};
  const std::string shown = to_toml(config, false);
  const Config again = parsed(shown);
  EXPECT_EQ(to_toml(again, false), shown);
  EXPECT_EQ(again.log.dir, config.log.dir);
  EXPECT_EQ(again.log.commit_window_ns, config.log.commit_window_ns);
  EXPECT_EQ(again.shards.buffers_offered, 64u);
  EXPECT_EQ(again.tls.minimum, "1.3");
  ASSERT_EQ(again.tls.certificates.size(), 1u);
  EXPECT_EQ(again.tls.certificates[0].key, "e.pem");
  EXPECT_FALSE(again.tls.starttls);
  EXPECT_FALSE(again.tls.tickets);
  EXPECT_EQ(again.tls.ticket_rotation_ns, config.tls.ticket_rotation_ns);
  EXPECT_EQ(again.dns.servers.at(0).to_string(), "192.0.2.1:53");
  EXPECT_EQ(again.recipients.domains, config.recipients.domains);
}

// "name = value" of each key, by its path.
std::map<std::string, std::string> keys_by_path(const Config& config) {
  std::map<std::string, std::string> keys;
  for (const ShownKey& key : shown_keys(config)) keys[key.path()] = key.value;
  return keys;
}

// Another value of the same kind, near the one that is shown; "" when it takes more than that.
std::string another_value(const std::string& shown) {
  if (shown == "true") return "false";
  if (shown == "false") return "true";
  if (shown == "\"0\"") return "\"1s\"";
  std::size_t at = shown.starts_with('"') ? 1 : 0;
  const std::size_t begin = at;
  while (at < shown.size() && std::isdigit(static_cast<unsigned char>(shown[at])) != 0) ++at;
  if (at == begin || (at < shown.size() && shown[at] == '.')) return "";
  return shown.substr(0, begin) + std::to_string(std::stoull(shown.substr(begin, at - begin)) + 1) +
         shown.substr(at);
}

// A key wired to the wrong member, or to none, would change another line or no line at all.
TEST(Config, EachKeySetsItselfAndNothingElse) {
  const auto before = keys_by_path(default_config());
  std::size_t tried = 0;
  for (const auto& [path, shown] : before) {
    std::string value = another_value(shown);
    if (path == "shards.buffer_bytes" || path == "shards.buffers_offered") value.clear();
    if (value.empty()) continue;
    auto config = parse_config(path + " = " + value + "\n", "t.toml");
    if (!config) config = parse_config(path + " = \"1MiB\"\n", "t.toml");
    ASSERT_TRUE(config.has_value()) << config.error().message;
    for (const auto& [other, now] : keys_by_path(*config)) {
      EXPECT_EQ(now != before.at(other), other == path) << path << " = " << value << ": " << other;
    }
    ++tried;
  }
  EXPECT_GE(tried, 60U);
}

// How many members an aggregate has.
struct Anything {
  template <class T>
  operator T() const;
};
template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires {
    T{(static_cast<void>(I), Anything{})...};
  };
}
template <class T, std::size_t N = 0>
constexpr std::size_t members() {
  if constexpr (takes<T>(std::make_index_sequence<N + 1>())) {
    return members<T, N + 1>();
  } else {
    return N;
  }
}

// With the test above: each limit has one key.
TEST(Config, NoLimitWithoutAKey) {
  std::size_t keys = 0;
  for (const auto& [path, shown] : keys_by_path(default_config()))
    keys += path.starts_with("limits.");
  EXPECT_EQ(keys, members<base::Limits>());
}

TEST(Config, LimitsThatDisagreeAreNamed) {
  for (const base::LimitRelation& relation : base::kLimitRelations) {
    EXPECT_TRUE(relation.holds(base::Limits{})) << relation.key;
    EXPECT_TRUE(keys_by_path(default_config()).contains("limits." + std::string(relation.key)));
  }
}

TEST(Config, ExplainedFormIsTheSameConfiguration) {
  const std::string plain = to_toml(default_config(), false);
  EXPECT_EQ(to_toml(parsed(to_toml(default_config(), true)), false), plain);
  EXPECT_NE(to_toml(default_config(), true)
                .find("\n# The size of a message; a larger one gets 552 5.3.4."),
            std::string::npos);
}

TEST(Config, SizesAndDurations) {
  EXPECT_EQ(parsed("[limits]\nmessage_size = 4096\nheader_size = \"4KiB\"").limits.message_bytes,
            4096u);
  EXPECT_EQ(parsed("[limits]\nmessage_size = \"1 MiB\"").limits.message_bytes, 1u << 20);
  EXPECT_EQ(parsed("[limits]\ncommand_wait = \"5m\"").limits.command_wait_ns, 300'000'000'000);
  EXPECT_EQ(parsed("[log]\nretain_age = \"7d\"").log.retain_age_ns, 604'800'000'000'000);
  EXPECT_EQ(parsed("[log]\nretain_age = 0").log.retain_age_ns, 0);
}

TEST(Config, DottedKeysAndInlineTablesAreTheSame) {
  EXPECT_EQ(parsed("limits.recipients = 500").limits.recipients, 500u);
  EXPECT_EQ(parsed("limits = { recipients = 500 }").limits.recipients, 500u);
}

TEST(Config, RecipientDomainsAreLowerCase) {
  EXPECT_EQ(parsed("[recipients]\ndomains = [\"Example.ORG\"]").recipients.domains.at(0),
            "example.org");
}

TEST(Config, RecipientDomainsInAnyScriptAreALabels) {
  std::string long_name;  // 75 bytes, but short in DNS
  for (int i = 0; i < 25; ++i) long_name += "漢";
  const Config config = parsed("[recipients]\ndomains = [\"KÖLN.de\", \"XN--kln-SNA.de\", \"" +
                               long_name + ".example\"]");
  EXPECT_EQ(config.recipients.domains,
            (std::vector<std::string>{"xn--kln-sna.de", "xn--kln-sna.de",
                                      "xn--hexaaaaaaaaaaaaaaaaaaaaaaaa.example"}));
  EXPECT_EQ(parsed(to_toml(config, false)).recipients.domains, config.recipients.domains);
  const std::string too_long =
      fault("[recipients]\ndomains = [\"" + long_name + "ä" + long_name + "ö" + long_name + "\"]");
  EXPECT_TRUE(too_long.starts_with("t.toml:2:12: recipients.domains: ")) << too_long;
  EXPECT_NE(too_long.find("is too long for a domain name"), std::string::npos) << too_long;
}

TEST(Config, ResolverMayLeaveThePortOut) {
  EXPECT_EQ(parsed("[dns]\nservers = [\"192.0.2.53\", \"[2001:db8::1]:5353\", \"2001:db8::2\"]")
                .dns.servers.at(2)
                .to_string(),
            "[2001:db8::2]:53");
}

struct Refusal {
  const char* text;
  const char* message;
};

class ConfigRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(ConfigRefusal, PointsAtThePlaceAndSaysWhatIsWanted) {
  EXPECT_EQ(fault(GetParam().text), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigRefusal,
    testing::Values(
        Refusal{"hostnam = \"a\"",
                "t.toml:1:1: unknown key \"hostnam\"; did you mean \"hostname\"?"},
        Refusal{"\n\n[lisen]\n", "t.toml:3:2: unknown key \"lisen\"; did you mean \"listen\"?"},
        Refusal{"[listen]\n  smpt = []",
                "t.toml:2:3: unknown key \"smpt\" in [listen]; did you mean \"smtp\"?"},
        Refusal{"[log]\nmessage_size = 5",
                "t.toml:2:1: unknown key \"message_size\" in [log]; it belongs to another section: "
                "limits.message_size"},
        Refusal{"[limits]\nqqqqqqqqqqqqqqqqqqqq = 5",
                "t.toml:2:1: unknown key \"qqqqqqqqqqqqqqqqqqqq\" in [limits]"},
        Refusal{"[limits]\n\"a\\u001bb\" = 5\n", "t.toml:2:1: unknown key \"a\\x1bb\" in [limits]"},
        Refusal{"listen = 5", "t.toml:1:10: listen must be a section: [listen]"},
        Refusal{"[[listen]]\nsmtp = []", "t.toml:1:1: listen must be a section: [listen]"},
        Refusal{"hostname = 5",
                "t.toml:1:12: hostname must be a host name such as \"mx.example.org\""},
        Refusal{"hostname = \"mx\\r\\n.example\"",
                "t.toml:1:12: hostname must be a host name such as \"mx.example.org\""},
        Refusal{"[listen]\nsmtp = \"127.0.0.1:25\"",
                "t.toml:2:8: listen.smtp must be a list: [\"127.0.0.1:2525\" or \"[::1]:2525\"]"},
        Refusal{
            "[listen]\nsmtp = [\"127.0.0.1:25\", \"localhost:25\"]",
            "t.toml:2:25: listen.smtp: \"localhost:25\": not an address (names are not looked up "
            "here); write 127.0.0.1:25 or [::1]:25, or 0.0.0.0:25 and [::]:25 for every address"},
        Refusal{"[listen]\nsmtp = [25]",
                "t.toml:2:9: listen.smtp must be a list of values like \"127.0.0.1:2525\" or "
                "\"[::1]:2525\""},
        Refusal{"[listen]\nadmin = \"9925\"",
                "t.toml:2:9: listen.admin must be an address like \"127.0.0.1:9925\" or "
                "\"unix:/run/mxring/admin\", or \"\" for "
                "none"},
        Refusal{"[shards]\npin = 1", "t.toml:2:7: shards.pin must be true or false"},
        Refusal{"[[tls.certificates]]\ncertificate = \"a\"",
                "t.toml:1:1: tls.certificates must be a list of {certificate = \"FILE\", key = "
                "\"FILE\"}"},
        Refusal{"[[tls.certificates]]\ncertificat = \"a\"",
                "t.toml:2:1: unknown key \"certificat\" in tls.certificates; certificate and key "
                "belong there"},
        Refusal{"[shards]\ncount = -1",
                "t.toml:2:9: shards.count must be a whole number from 0 to 1024"},
        Refusal{"[log]\nsync = \"maybe\"", "t.toml:2:8: log.sync must be \"commit\" or \"none\""},
        Refusal{"[limits]\nrecipients = 99",
                "t.toml:2:14: limits.recipients must be a whole number from 100 to 1000000000"},
        Refusal{"[limits]\nrecipients = \"many\"",
                "t.toml:2:14: limits.recipients must be a whole number from 100 to 1000000000"},
        Refusal{"[limits]\nmessage_size = \"25 bananas\"",
                "t.toml:2:16: limits.message_size must be a size such as \"25MiB\", \"64KiB\" or "
                "4096"},
        Refusal{"[limits]\nmessage_size = \"3GiB\"",
                "t.toml:2:16: limits.message_size must be a size from 1KiB to 2GiB"},
        Refusal{"[limits]\nmessage_size = -1",
                "t.toml:2:16: limits.message_size must be a size such as \"25MiB\", \"64KiB\" or "
                "4096"},
        Refusal{"[limits]\ncommand_wait = 300",
                "t.toml:2:16: limits.command_wait must be a duration such as \"250ms\", \"30s\" or "
                "\"7d\""},
        Refusal{"[limits]\ncommand_wait = \"0\"",
                "t.toml:2:16: limits.command_wait must be a duration from 1ms to 36500d"},
        Refusal{"[limits]\ncommand_wait = \"-3s\"",
                "t.toml:2:16: limits.command_wait must be a duration from 1ms to 36500d"},
        Refusal{"[limits]\ncommand_wait = \"99999d\"",
                "t.toml:2:16: limits.command_wait must be a duration from 1ms to 36500d"},
        Refusal{"[limits]\ncommand_wait = \"soon\"",
                "t.toml:2:16: limits.command_wait must be a duration such as \"250ms\", \"30s\" or "
                "\"7d\""},
        Refusal{
            "[recipients]\ndomains = [\"ok.example\",\n  \"a℀b.example\"]",
            "t.toml:3:3: recipients.domains: \"a℀b.example\" has a character or a label that no "
            "domain name may have, so it has no form in DNS; write the name as DNS has it, like "
            "\"xn--kln-sna.de\" for \"köln.de\""},
        Refusal{"[recipients]\ndomains = [25]",
                "t.toml:2:12: recipients.domains must be a list of values like \"example.org\""},
        Refusal{"[recipients]\ndomains = [\"a b\"]",
                "t.toml:2:12: recipients.domains must be a list of values like \"example.org\""},
        // All of them in the order of the file, although tables are walked sorted.
        Refusal{"[shards]\npin = 1\n[auth]\nspf = 1\nspff = true",
                "t.toml:2:7: shards.pin must be true or false\n"
                "t.toml:4:7: auth.spf must be true or false\n"
                "t.toml:5:1: unknown key \"spff\" in [auth]; did you mean \"spf\"?"}));

TEST(Config, BrokenTomlPointsAtThePlace) {
  const std::string message = fault("hostname = \"a\"\n[listen\n");
  EXPECT_TRUE(message.starts_with("t.toml:2:")) << message;
  EXPECT_TRUE(fault("a = 1\na = 2\n").starts_with("t.toml:2:")) << fault("a = 1\na = 2\n");
}

TEST(Config, MissingFileSaysSo) {
  const auto config = load_config("/nowhere/mxring.toml");
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().message,
            "/nowhere/mxring.toml: cannot be read: No such file or directory");
  const auto directory = load_config("/");
  ASSERT_FALSE(directory.has_value());
  EXPECT_EQ(directory.error().message, "/: cannot be read: Is a directory");
}

class ConfigDisagreement : public testing::TestWithParam<Refusal> {};

TEST_P(ConfigDisagreement, IsFoundByTheCheckOfTheWhole) {
  EXPECT_EQ(disagreement(GetParam().text), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigDisagreement,
    testing::Values(
        Refusal{"[listen]\nsmtp = []",
                "t.toml:2:1: listen.smtp names no address: nothing to listen on; try "
                "[\"127.0.0.1:2525\"]"},
        Refusal{"[listen]\nsmtp = [\"127.0.0.1:25\", \"127.0.0.1:25\"]",
                "t.toml:2:1: listen.smtp names 127.0.0.1:25 twice"},
        Refusal{"[listen]\nsmtp = [\"127.0.0.1:0\", \"127.0.0.1:0\"]", "(no error)"},
        Refusal{"[listen]\nsmtp = [\"127.0.0.1:25\"]\nsmtps = [\"127.0.0.1:25\"]",
                "t.toml:3:1: listen.smtps names 127.0.0.1:25, as listen.smtp does"},
        Refusal{"[listen]\nsmtp = [\"0.0.0.0:25\"]\nadmin = \"127.0.0.1:25\"",
                "t.toml:3:1: listen.admin names 127.0.0.1:25, which collides with 0.0.0.0:25 of "
                "listen.smtp"},
        Refusal{"[listen]\nsmtp = [\"[::1]:25\", \"[::]:25\"]",
                "t.toml:2:1: listen.smtp names [::]:25, which collides with [::1]:25 of "
                "listen.smtp"},
        Refusal{"[listen]\nsmtp = [\"0.0.0.0:25\", \"[::]:25\"]", "(no error)"},
        Refusal{"hostname = \"LocalHost\"",
                "t.toml:1:1: hostname must be this host's name in DNS, such as \"mx.example.org\": "
                "\"LocalHost\" names no host to others"},
        Refusal{"hostname = \"192.0.2.1\"",
                "t.toml:1:1: hostname must be this host's name in DNS, such as \"mx.example.org\": "
                "\"192.0.2.1\" names no host to others"},
        Refusal{"[tls]\ncertificate = \"a\"",
                "t.toml:2:1: tls.certificate and tls.key belong together: set both or neither"},
        Refusal{"[shards]\nbuffer_bytes = 5000",
                "t.toml:2:1: shards.buffer_bytes must be a power of two"},
        Refusal{"[shards]\nbuffers_offered = 100",
                "t.toml:2:1: shards.buffers_offered must be a power of two"},
        Refusal{"[shards]\nsubmission_entries = 100",
                "t.toml:2:1: shards.submission_entries must be a power of two"},
        Refusal{"[shards]\nsubmission_entries = 1024\ncompletion_entries = 1024",
                "t.toml:3:1: shards.completion_entries must be larger than submission_entries"},
        Refusal{"[log]\ndir = \"\"", "t.toml:2:1: log.dir must name a directory"},
        Refusal{"[log]\nsegment_bytes = \"16MiB\"",
                "t.toml:2:1: log.segment_bytes must hold a whole message: at least message_size + "
                "1MiB, 26.0 MiB now"},
        Refusal{"[limits]\nmemory = \"32MiB\"",
                "t.toml:2:1: limits.memory must hold at least two messages of message_size"},
        Refusal{"[limits]\nmessage_size = \"4KiB\"",
                "limits.header_size must not exceed message_size"},
        Refusal{"[limits]\ncommand_line = \"64KiB\"",
                "limits.command_line_close must be at least command_line + command_line_extra"},
        Refusal{"[limits]\nmessage_line = 500",
                "t.toml:2:1: limits.message_line must be at least message_line_flag"},
        Refusal{"[limits]\nerrors_soft = 30",
                "t.toml:2:1: limits.errors_soft must not exceed errors_hard"},
        Refusal{"[limits]\nconnections = 10",
                "limits.connections_per_ip must not exceed connections"},
        Refusal{"[limits]\nheader_fields = 10",
                "limits.received_fields must not exceed header_fields"},
        Refusal{"[limits]\nrsa_bits_max = 512",
                "limits.rsa_bits_min must not exceed rsa_bits_max"}));

TEST(Config, AllMistakesAreFoundAndNoneThatFollowsFromAnother) {
  const ConfigDraft draft = read_config(
      "hostname = \"localhost\"\n"
      "[listen]\nsmtp = [\"127.0.0.1:25\"]\nsmtps = [\"127.0.0.1:25\"]\nport = 25\n"
      "[limits]\nmemory = \"lots\"\nmessage_size = \"1GiB\"\nerrors_soft = 30\n"
      "[log]\nsegment_bytes = \"64MiB\"\n",
      "t.toml");
  const auto valid = validate(draft);
  ASSERT_FALSE(valid.has_value());
  EXPECT_EQ(valid.error().message,
            "t.toml:5:1: unknown key \"port\" in [listen]\n"
            "t.toml:7:10: limits.memory must be a size such as \"25MiB\", \"64KiB\" or 4096\n"
            "t.toml:1:1: hostname must be this host's name in DNS, such as \"mx.example.org\": "
            "\"localhost\" names no host to others\n"
            "t.toml:11:1: log.segment_bytes must hold a whole message: at least message_size + "
            "1MiB, 1.00 GiB now\n"
            "t.toml:4:1: listen.smtps names 127.0.0.1:25, as listen.smtp does\n"
            "t.toml:9:1: limits.errors_soft must not exceed errors_hard");
  // What is no TOML has one mistake, and nothing is made of the defaults.
  const ConfigDraft broken = read_config("[listen\nsmtp = []\n", "t.toml");
  ASSERT_EQ(broken.mistakes.size(), 1u);
  EXPECT_EQ(validate(broken).error().message, broken.mistakes[0].text);
}

TEST(Config, MoreShardsThanCoresIsAnError) {
  const std::string message = disagreement("[shards]\ncount = 1024");
  EXPECT_TRUE(message.starts_with("t.toml:2:1: shards.count is 1024, but this machine has "))
      << message;
}

}  // namespace
}  // namespace mxring::server
