// `mxring dkim keygen`: a key pair, and the DNS record that publishes its public half.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/base64.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/owned_fd.h"
#include "crypto/private_key.h"
#include "mailauth/dkim/signature.h"

namespace mxring::cli {

namespace {

constexpr std::uint32_t kBitsDefault = 2048;
// A string of a TXT record has 255 bytes at most (RFC 1035 3.3).
constexpr std::size_t kZoneStringBytes = 200;

struct KeygenOptions {
  std::string domain;
  std::string selector;
  std::string type = "rsa";
  std::uint32_t bits = 0;
  std::string folder = ".";
  bool json = false;
};

struct KeyNames {
  std::string record;  // SELECTOR._domainkey.DOMAIN
  std::string file;
};

std::expected<KeyNames, std::string> names_of(const KeygenOptions& options) {
  const auto domain = mailauth::dkim::parse_domain(options.domain);
  if (!domain || domain->labels() < 2) {
    return std::unexpected(fmt::format("--domain {}: not a domain", base::escaped(options.domain)));
  }
  const auto selector = mailauth::dkim::parse_domain(options.selector);
  if (!selector) {
    return std::unexpected(fmt::format(
        "--selector {}: not a selector: letters, digits and hyphens, as in \"mail2026\"",
        base::escaped(options.selector)));
  }
  const auto record = mailauth::dkim::key_name(*selector, *domain);
  if (!record) return std::unexpected("--selector and --domain are too long for one name");
  // Both consist of letters, digits, hyphens, underscores and dots: fit for a file's name.
  return KeyNames{record->to_text(), fmt::format("{}/{}.{}.pem", options.folder,
                                                 selector->to_text(), domain->to_text())};
}

// Readable by its owner alone from the first moment on, and never over another file.
std::expected<void, std::string> write_key_file(const std::string& path, std::string_view pem) {
  constexpr mode_t kOwnerOnly = 0600;
  OwnedFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kOwnerOnly));
  if (!file.valid()) {
    const char* hint = errno == EEXIST ? "; remove it first, or choose another selector" : "";
    return std::unexpected(
        fmt::format("{}: {}{}", base::escaped(path), std::strerror(errno), hint));
  }
  while (!pem.empty()) {
    const ssize_t wrote = ::write(file.get(), pem.data(), pem.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      std::string problem = fmt::format("{}: {}", base::escaped(path), std::strerror(errno));
      ::unlink(path.c_str());
      return std::unexpected(std::move(problem));
    }
    pem.remove_prefix(static_cast<std::size_t>(wrote));
  }
  if (::fsync(file.get()) == 0) return {};
  return std::unexpected(fmt::format("{}: {}", base::escaped(path), std::strerror(errno)));
}

// The record as a zone file has it, in strings that are short enough.
std::string zone_lines(const KeyNames& names, std::string_view value) {
  std::string out = fmt::format("{}. IN TXT (", names.record);
  while (!value.empty()) {
    const std::string_view part = value.substr(0, kZoneStringBytes);
    out += fmt::format("\n    \"{}\"", part);
    value.remove_prefix(part.size());
  }
  return out + " )\n";
}

std::string keygen_text(const KeyNames& names, const std::string& value) {
  return fmt::format(
      "private key  {}  (mode 0600; `mxring dkim sign --key` wants it)\n"
      "record name  {}\n"
      "record type  TXT\n\n"
      "For a zone file:\n\n{}\n"
      "For a form that wants the value in one piece:\n\n{}\n",
      base::escaped(names.file), names.record, zone_lines(names, value), value);
}

std::string keygen_json(const KeyNames& names, const std::string& value) {
  base::JsonWriter json;
  json.begin_object();
  json.key("record_name").value(names.record);
  json.key("record_value").value(value);
  json.key("zone_lines").value(zone_lines(names, value));
  json.key("private_key_file").value(names.file);
  json.end_object();
  return std::move(json).text() + '\n';
}

int run_keygen(const KeygenOptions& options) {
  const auto names = names_of(options);
  if (!names) {
    complain(names.error());
    return kUsage;
  }
  const bool rsa = options.type == "rsa";
  if (!rsa && options.bits != 0) {
    complain("--bits is for RSA keys; an Ed25519 key has one size");
    return kUsage;
  }
  auto key = rsa ? crypto::PrivateKey::generate_rsa(options.bits == 0 ? kBitsDefault : options.bits)
                 : crypto::PrivateKey::generate_ed25519();
  if (!key) {
    complain(fmt::format("no key could be made: {}", key.error()));
    return kFailed;
  }
  if (const auto written = write_key_file(names->file, key->to_pem()); !written) {
    complain(written.error());
    return kFailed;
  }
  const std::string value =
      fmt::format("v=DKIM1; k={}; p={}", options.type, base::encode_base64(key->public_key()));
  Output output;
  output.write(options.json ? keygen_json(*names, value) : keygen_text(*names, value));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_dkim_keygen(CLI::App& dkim, Commands& commands) {
  CLI::App* app = dkim.add_subcommand("keygen", "Make a key pair and print its DNS record");
  const auto options = std::make_shared<KeygenOptions>();
  app->add_option("--domain", options->domain, "The domain that signs")->required();
  app->add_option("--selector", options->selector, "The key's name below the domain")->required();
  app->add_option("--type", options->type, "rsa, which everybody verifies, or ed25519")
      ->check(CLI::IsMember({"rsa", "ed25519"}).description(""))
      ->capture_default_str();
  app->add_option("--bits", options->bits, "Of an RSA key, 1024 to 4096; default 2048")
      ->check(CLI::Range(1024U, 4096U).description(""))
      ->type_name("N");
  app->add_option("--out", options->folder, "The folder for the private key; default here")
      ->type_name("DIR");
  app->add_flag("--json", options->json, "One JSON object");
  app->footer("The key file is SELECTOR.DOMAIN.pem, for its owner only. Nothing is overwritten.");
  commands.push_back({app, [options] { return run_keygen(*options); }});
}

}  // namespace mxring::cli
