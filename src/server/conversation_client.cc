// Whom a connection speaks for: the client itself, or the one that a balancer names in a PROXY
// header, or a proxy by XCLIENT. From then on the client's address is the one for all limits,
// checks, rules and records; that of the TCP connection is kept beside it.
#include <fmt/format.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/probe.h"
#include "server/conversation.h"
#include "smtp/reply.h"

namespace mxring::server {

namespace replies = smtp::replies;

namespace {

std::string via_json(const base::Endpoint& peer, std::string_view protocol) {
  base::JsonWriter json;
  json.begin_object();
  json.key("ip").value(peer.address.to_string());
  json.key("port").value(std::uint32_t{peer.port});
  json.key("protocol").value(protocol);
  json.end_object();
  return std::move(json).text();
}

}  // namespace

void Conversation::await_header(bool implicit_tls) {
  header_ = std::make_unique<HeaderIntake>(
      HeaderIntake{.bytes = {},
                   .deadline_ns = context_.now.mono.ns + rules_->config.limits.proxy_header_ns,
                   .implicit_tls = implicit_tls});
  hold(Hold::kHeader);
}

// A header that came in one piece is read where it lies; of one that is cut only its bytes are
// kept, not the buffers they came in.
void Conversation::read_header() {
  while (hold_ == Hold::kHeader && connection_.chunks() > 0) {
    const std::string_view bytes = connection_.front_bytes();
    std::string& kept = header_->bytes;
    const std::size_t before = kept.size();
    MXRING_ASSERT(before < net::kProxyHeaderBytesMax);
    if (before > 0) kept += bytes.substr(0, net::kProxyHeaderBytesMax - before);
    const net::ProxyHeader header = net::parse_proxy_header(before > 0 ? kept : bytes);
    switch (header.state) {
      case net::ProxyHeader::State::kMore:
        MXRING_PROBE("PROXY header: it comes in pieces");
        if (before == 0) kept = bytes;
        connection_.consume(bytes.size());
        break;
      case net::ProxyHeader::State::kBad:
        return refuse_balancer(net::describe(header.problem));
      case net::ProxyHeader::State::kHeader:
        connection_.consume(header.bytes - before);
        return take_header(header);
    }
  }
}

// Health checks (LOCAL), and balancers that cannot say for whom they speak (UNKNOWN), speak for
// themselves.
void Conversation::take_header(const net::ProxyHeader& header) {
  MXRING_ASSERT(header_ != nullptr && !greeted_);
  const bool implicit_tls = header_->implicit_tls;
  if (header.has_client && !stand_for({header.client, header.client_port},
                                      header.version == 1 ? "proxy-v1" : "proxy-v2")) {
    MXRING_PROBE("PROXY header: its client has too many connections");
    context_.counters.add(obs::Counter::kConnectionsRefused);
    return say_last_words(replies::kTooManyConnections);
  }
  header_.reset();
  release(Hold::kHeader);
  welcome(implicit_tls, connection_.chunks() > 0);
  set_timer();
}

// In the clear even where TLS would come next: the peer is one of ours, and whoever looks for the
// fault there reads more than a connection that closes.
void Conversation::refuse_balancer(std::string_view problem) {
  MXRING_PROBE("PROXY header: refused");
  header_->implicit_tls = false;
  const std::string text =
      fmt::format("{}: {}", smtp::Reply(replies::kBadProxyHeader).text(), problem);
  context_.counters.add(obs::Counter::kConnectionsRefused);
  say_last_words(smtp::Reply(replies::kBadProxyHeader).with(text));
}

void Conversation::welcome(bool implicit_tls, bool spoke_early) {
  begin_name();
  begin_lists();
  implicit_tls ? begin_tls() : greet(spoke_early);
}

// False: this client has as many connections as it may have, or too many in a minute.
bool Conversation::stand_for(const base::Endpoint& client, std::string_view protocol) {
  const base::IpAddress& address = client.address;
  const bool is_new = facts_.via.empty() || address != facts_.address;
  const bool in_time = !is_new || context_.rates.take(RateKind::kConnections, address,
                                                      rules_->config.limits.connections_per_minute,
                                                      context_.now.mono);
  facts_.address = address;
  facts_.ip = address.to_string();
  facts_.port = client.port;
  facts_.is_v6 = !address.is_v4();
  facts_.via = via_json(peer_, protocol);
  facts_.via_ip = peer_.address.to_string();
  context_.memory.leave(*this);
  context_.memory.enter(*this, address);
  guesses_ = 0;
  return in_time && context_.gate.move(place_, address);
}

// What the proxy does not know stays as it was: at first, its own.
bool Conversation::on_xclient(smtp::ReplyBuffer& out) {
  const smtp::XclientFacts& named = session_.offered_client();
  const std::uint16_t port = named.port.value_or(named.address ? 0 : facts_.port);
  const base::Endpoint client{named.address.value_or(facts_.address), port};
  if (!stand_for(client, "xclient")) {
    MXRING_PROBE("XCLIENT: its client has too many connections");
    context_.counters.add(obs::Counter::kConnectionsRefused);
    session_.terminate(replies::kTooManyConnections, out);
    enter(Phase::kLastWords);
    return false;
  }
  if (named.name) {
    given_name_ = std::make_unique<const std::string>(*named.name);
  } else if (named.address) {
    given_name_.reset();
    begin_name();
  }
  if (named.address) begin_lists();
  session_.accept(out);
  return true;
}

void Conversation::begin_name() {
  if (context_.checks == nullptr) return;
  if (name_ != nullptr) context_.checks->drop_name(*name_);
  name_ = &context_.checks->begin_name(facts_.address, context_.now.mono,
                                       /*claimed=*/!facts_.via.empty());
}

void Conversation::begin_lists() {
  drop_lists();
  if (context_.lists == nullptr || rules_->lists.empty()) return;
  if (!is_asked_about(facts_.address)) return;
  lists_ = &context_.lists->begin(rules_->lists, facts_.address, !facts_.via.empty(), *this,
                                  context_.now.mono);
}

void Conversation::drop_lists() {
  if (lists_ != nullptr && lists_->under_way()) {
    MXRING_PROBE("gone while block lists were asked");
  }
  if (lists_ != nullptr) context_.lists->drop(*lists_);
  lists_ = nullptr;
}

// The recipient that waited for it is answered; its line is behind us then.
void Conversation::block_lists_answered() {
  if (hold_ != Hold::kLists) return;
  MXRING_PROBE("RCPT: block lists have answered");
  MXRING_ASSERT(lists_ != nullptr && line_waiting_ > 0);
  release(Hold::kLists);
  smtp::ReplyBuffer out(connection_.output(), this);
  judge_recipient(out);
  connection_.wrote(out.size());
  if (phase_ == Phase::kTalking) connection_.consume(line_waiting_);
}

std::string_view Conversation::client_name() const {
  if (given_name_ != nullptr) return *given_name_;
  return name_ == nullptr ? std::string_view() : std::string_view(name_->name());
}

}  // namespace mxring::server
