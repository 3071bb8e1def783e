// The sink that is a webhook, over libcurl: HTTP/2 where it is offered, kept connections, each
// attempt signed anew. Redirects and proxies from the environment are not followed; the address
// that a name leads to is looked at before a connection is made to it.
//
// Thread: the relay's; libcurl resolves names on threads of its own.
#include <curl/curl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/assert.h"
#include "base/text.h"
#include "relay/config_check.h"
#include "relay/event.h"
#include "relay/fault_seam.h"
#include "relay/files.h"
#include "relay/sink.h"
#include "relay/webhook_reply.h"
#include "relay/webhook_signature.h"

namespace mxring::relay {

namespace {

constexpr std::size_t kReplyBytesMax = 512;  // of an answer's body, for people
constexpr std::size_t kSecretFileMax = 64 << 10;

class Webhook : public Sink {
 public:
  explicit Webhook(const Config& config)
      : config_(config.webhook),
        shape_{config_.payload, config_.delivered, config_.inline_bytes, config.claim_url,
               parse_tokens(config.bounce_tokens)},
        private_ok_(config_.allow_private) {}
  ~Webhook() override;
  std::expected<void, std::string> open();

  void shape(EngineOptions& options) const override;
  bool takes_gaps() const override { return true; }
  void begin(Ticket ticket, Item& item, base::Now now) override;
  void wait(std::vector<pollfd>& others, int at_most_ms) override;
  void work(base::Now now) override;
  std::expected<void, std::string> reload() override;
  void abandon() override;

 private:
  struct Attempt {
    Webhook* sink = nullptr;
    CURL* easy = nullptr;
    curl_slist* headers = nullptr;
    std::unique_ptr<EventWriter> writer;
    Ticket ticket;
    base::MonoTime begun;
    bool busy = false;
    std::string body;  // of the answer
    std::string said;  // why no connection was made
    char error[CURL_ERROR_SIZE] = {};
  };

  static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* to);
  static curl_socket_t on_socket(void* to, curlsocktype, curl_sockaddr* address);
  Attempt& free_attempt();
  void set_up(Attempt& attempt);
  void set_headers(Attempt& attempt, const Item& item, const EventWriter::Event& event,
                   base::Now now);
  void finish(Attempt& attempt, CURLcode result, base::Now now);
  void release(Attempt& attempt);

  WebhookConfig config_;
  EventShape shape_;
  bool private_ok_;
  WebhookSecrets secrets_;
  std::string credentials_;
  std::shared_ptr<Decoding> decoding_ = std::make_shared<Decoding>();
  CURLM* multi_ = nullptr;
  std::vector<std::unique_ptr<Attempt>> attempts_;
};

std::expected<void, std::string> Webhook::reload() {
  WebhookSecrets secrets;
  std::string credentials;
  if (!config_.secret_file.empty()) {
    const auto text = read_small_file(config_.secret_file, kSecretFileMax);
    if (!text) return std::unexpected(text.error());
    auto parsed = WebhookSecrets::parse(*text);
    if (!parsed) {
      return std::unexpected(
          fmt::format("{}: {}", base::escaped(config_.secret_file), parsed.error()));
    }
    secrets = std::move(*parsed);
  }
  if (!config_.basic_auth_file.empty()) {
    const auto text = read_small_file(config_.basic_auth_file, kSecretFileMax);
    if (!text) return std::unexpected(text.error());
    credentials = text->substr(0, text->find_first_of("\r\n"));
    if (credentials.find(':') == std::string::npos) {
      return std::unexpected(fmt::format("{}: write USER:PASSWORD in its first line",
                                         base::escaped(config_.basic_auth_file)));
    }
  }
  if (!config_.ca_file.empty() && ::access(config_.ca_file.c_str(), R_OK) != 0) {
    return std::unexpected(
        fmt::format("{}: {}", base::escaped(config_.ca_file), std::strerror(errno)));
  }
  secrets_ = std::move(secrets);
  credentials_ = std::move(credentials);
  return {};
}

std::expected<void, std::string> Webhook::open() {
  if (auto read = reload(); !read) return read;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return std::unexpected("libcurl cannot be used");
  }
  multi_ = curl_multi_init();
  if (multi_ == nullptr) return std::unexpected("libcurl cannot be used");
  curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(config_.connections));
  return {};
}

Webhook::~Webhook() {
  abandon();
  for (const auto& attempt : attempts_) curl_easy_cleanup(attempt->easy);
  if (multi_ != nullptr) curl_multi_cleanup(multi_);
}

void Webhook::shape(EngineOptions& options) const {
  switch (config_.order) {
    case WebhookOrder::kOffset:
      options.order = Order::kOffset;
      options.window_records = 8;
      return;
    case WebhookOrder::kLane:
      options.order = Order::kLane;
      break;
    case WebhookOrder::kNone:
      options.order = Order::kNone;
      break;
  }
  options.under_way_max = config_.connections;
}

std::size_t Webhook::on_body(char* bytes, std::size_t size, std::size_t count, void* to) {
  auto* attempt = static_cast<Attempt*>(to);
  const std::size_t room = kReplyBytesMax - std::min(kReplyBytesMax, attempt->body.size());
  attempt->body.append(bytes, std::min(room, size * count));
  return size * count;
}

// The address is the one that will be connected to: a name that resolves to something else the next
// time gains nothing.
curl_socket_t Webhook::on_socket(void* to, curlsocktype, curl_sockaddr* address) {
  auto* attempt = static_cast<Attempt*>(to);
  char text[NI_MAXHOST] = {};
  const int failed = ::getnameinfo(&address->addr, static_cast<socklen_t>(address->addrlen), text,
                                   sizeof text, nullptr, 0, NI_NUMERICHOST);
  std::string_view host(text);
  host = host.substr(0, host.find('%'));
  if (failed != 0 || (!attempt->sink->private_ok_ && is_private_address(host))) {
    attempt->said = fmt::format(
        "the name leads to the private address {}; allow_private = true if that is what you mean",
        base::escaped(host));
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void Webhook::set_up(Attempt& attempt) {
  CURL* easy = attempt.easy;
  curl_easy_reset(easy);
  curl_easy_setopt(easy, CURLOPT_URL, config_.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_PROXY,
                   "");  // else the environment's, past every look at addresses
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &attempt);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, attempt.error);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Webhook::on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &attempt);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &Webhook::on_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &attempt);
  curl_easy_setopt(easy, CURLOPT_POST, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "mxring-relay");
  if (!config_.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, config_.ca_file.c_str());
  }
  if (!credentials_.empty()) {
    curl_easy_setopt(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    curl_easy_setopt(easy, CURLOPT_USERPWD, credentials_.c_str());
  }
}

Webhook::Attempt& Webhook::free_attempt() {
  for (const auto& attempt : attempts_) {
    if (!attempt->busy) return *attempt;
  }
  auto made = std::make_unique<Attempt>();
  made->sink = this;
  made->easy = curl_easy_init();
  made->writer = std::make_unique<EventWriter>(shape_, decoding_);
  MXRING_ASSERT(made->easy != nullptr);
  attempts_.push_back(std::move(made));
  return *attempts_.back();
}

void Webhook::set_headers(Attempt& attempt, const Item& item, const EventWriter::Event& event,
                          base::Now now) {
  const auto add = [&](const std::string& line) {
    attempt.headers = curl_slist_append(attempt.headers, line.c_str());
  };
  // The time of this attempt: receivers refuse old ones.
  const std::int64_t timestamp = now.wall.us / 1'000'000;
  add(fmt::format("Content-Type: {}", event.content_type));
  add(fmt::format("webhook-id: {}", item.id()));
  add(fmt::format("webhook-timestamp: {}", timestamp));
  if (!secrets_.empty()) {
    add(fmt::format("webhook-signature: {}", secrets_.sign(item.id(), timestamp, event.body)));
  }
  add("Expect:");
  curl_easy_setopt(attempt.easy, CURLOPT_HTTPHEADER, attempt.headers);
}

void Webhook::begin(Ticket ticket, Item& item, base::Now now) {
  Attempt& attempt = free_attempt();
  attempt.busy = true;
  attempt.ticket = ticket;
  attempt.begun = now.mono;
  attempt.body.clear();
  attempt.said.clear();
  attempt.error[0] = '\0';
  if (!item.gap() && item.record().requiretls && !config_.url.starts_with("https:")) {
    Outcome outcome;
    outcome.ticket = ticket;
    outcome.begun = now.mono;
    outcome.kind = Outcome::Kind::kForGood;
    outcome.reply = "the message requires TLS (RFC 8689), and the url has none";
    attempt.busy = false;
    return tell(std::move(outcome));
  }
  set_up(attempt);
  const EventWriter::Event event = attempt.writer->write(item);
  set_headers(attempt, item, event, now);
  curl_easy_setopt(attempt.easy, CURLOPT_POSTFIELDSIZE_LARGE,
                   static_cast<curl_off_t>(event.body.size()));
  curl_easy_setopt(attempt.easy, CURLOPT_POSTFIELDS, event.body.data());
  // A large body has the time that 64 KiB a second need on top.
  constexpr std::int64_t kBytesPerMs = 64;
  const std::int64_t timeout_ms = config_.timeout_ns / base::kNsPerMs +
                                  static_cast<std::int64_t>(event.body.size()) / kBytesPerMs;
  curl_easy_setopt(attempt.easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout_ms));
  if (!seam::step()) return finish(attempt, CURLE_SEND_ERROR, now);
  curl_multi_add_handle(multi_, attempt.easy);
}

void Webhook::release(Attempt& attempt) {
  curl_multi_remove_handle(multi_, attempt.easy);
  curl_slist_free_all(attempt.headers);
  attempt.headers = nullptr;
  attempt.busy = false;
}

void Webhook::finish(Attempt& attempt, CURLcode result, base::Now now) {
  HttpAnswer answer;
  answer.url = config_.url;
  answer.timeout_ns = config_.timeout_ns;
  if (result == CURLE_OK) {
    long code = 0;
    curl_off_t retry_after = 0;
    char* location = nullptr;
    curl_easy_getinfo(attempt.easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_getinfo(attempt.easy, CURLINFO_RETRY_AFTER, &retry_after);
    curl_easy_getinfo(attempt.easy, CURLINFO_REDIRECT_URL, &location);
    answer.code = static_cast<int>(code);
    answer.retry_after_s = retry_after;
    answer.body = attempt.body;
    if (location != nullptr) answer.location = location;
  } else {
    answer.error = !attempt.said.empty()      ? attempt.said
                   : attempt.error[0] != '\0' ? attempt.error
                                              : curl_easy_strerror(result);
  }
  Outcome outcome = judge(answer);
  outcome.ticket = attempt.ticket;
  outcome.begun = attempt.begun;
  (void)now;
  tell(std::move(outcome));
  release(attempt);
}

void Webhook::work(base::Now now) {
  int running = 0;
  curl_multi_perform(multi_, &running);
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* attempt = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &attempt);
    const CURLcode result = message->data.result;
    if (!seam::step()) {
      finish(*reinterpret_cast<Attempt*>(attempt), CURLE_RECV_ERROR, now);
      continue;
    }
    finish(*reinterpret_cast<Attempt*>(attempt), result, now);
  }
}

void Webhook::wait(std::vector<pollfd>& others, int at_most_ms) {
  std::vector<curl_waitfd> extra;
  for (const pollfd& other : others) {
    short events = 0;
    if ((other.events & POLLIN) != 0) events |= CURL_WAIT_POLLIN;
    if ((other.events & POLLOUT) != 0) events |= CURL_WAIT_POLLOUT;
    extra.push_back({other.fd, events, 0});
  }
  // libcurl shortens the wait where its own clocks want that.
  curl_multi_poll(multi_, extra.data(), static_cast<unsigned>(extra.size()), at_most_ms, nullptr);
}

void Webhook::abandon() {
  for (const auto& attempt : attempts_) {
    if (attempt->busy) release(*attempt);
  }
}

}  // namespace

MadeSink make_webhook(const Config& config, const SinkPlace&) {
  auto sink = std::make_unique<Webhook>(config);
  if (auto opened = sink->open(); !opened) return std::unexpected(opened.error());
  return sink;
}

std::string webhook_library() {
  const std::string_view version = curl_version();
  return std::string(version.substr(0, version.find(' ')));
}

}  // namespace mxring::relay
