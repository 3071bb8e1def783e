#include "server/acceptor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "base/probe.h"
#include "server/journal.h"
#include "server/result_counters.h"
#include "smtp/reply_buffer.h"

namespace mxring::server {

namespace replies = smtp::replies;

Acceptor::Acceptor(TurnContext& context, uring::Ring& ring, ConnectionGate& gate,
                   ShardListeners listeners)
    : context_(context),
      ring_(ring),
      gate_(gate),
      listeners_(std::move(listeners.all)),
      implicit_tls_from_(listeners.implicit_tls_from),
      handed_over_(listeners.handed_over) {
  MXRING_ASSERT(implicit_tls_from_ <= listeners_.size());
  armed_.assign(listeners_.size(), 0);
}

bool Acceptor::arm() {
  if (context_.draining && handed_over_) return true;
  if (context_.now.mono.ns < retry_at_ns_) return false;
  for (std::uint32_t i = 0; i < listeners_.size(); ++i) {
    for (std::uint32_t k = 0; k < kAcceptsPerTurn; ++k) {
      if ((armed_[i] >> k & 1) != 0) continue;
      armed_[i] |= 1U << k;
      ring_.accept(listeners_[i].fd(), {uring::Operation::kAccept, k, i});
    }
  }
  return true;
}

bool Acceptor::on_accept(const uring::Completion& completion, Newcomer* newcomer) {
  const std::size_t listener = completion.tag.slot;
  MXRING_ASSERT(listener < armed_.size() && completion.tag.generation < kAcceptsPerTurn);
  const std::uint32_t bit = 1U << completion.tag.generation;
  MXRING_ASSERT((armed_[listener] & bit) != 0);
  armed_[listener] &= ~bit;
  if (completion.result < 0) {
    MXRING_PROBE("accept: it fails");
    retry_at_ns_ = context_.now.mono.ns + kRetryNs;
    return false;
  }
  context_.counters.add(obs::Counter::kConnectionsAccepted);
  ++context_.direct_system_calls;
  *newcomer = {.fd = completion.result,
               .peer = net::peer_of(completion.result),
               .implicit_tls = listener >= implicit_tls_from_};
  if (context_.draining && !handed_over_) {
    MXRING_PROBE("accept: 421, draining");
    turn_away(*newcomer, replies::kDraining);
    return false;
  }
  if (!take_in(*newcomer)) {
    turn_away(*newcomer, replies::kTooManyConnections);
    return false;
  }
  return true;
}

// Whoever speaks for others is not counted as a client.
bool Acceptor::take_in(Newcomer& newcomer) {
  const Config& config = context_.rules->config;
  const base::IpAddress& peer = newcomer.peer.address;
  newcomer.sends_header = base::find_network(config.listen.proxy, peer) != nullptr;
  const bool speaks_for_others =
      newcomer.sends_header || base::find_network(config.listen.xclient, peer) != nullptr;
  if (!speaks_for_others &&
      !context_.rates.take(RateKind::kConnections, peer, config.limits.connections_per_minute,
                           context_.now.mono)) {
    MXRING_PROBE("accept: 421, too many a minute");
    return false;
  }
  const auto place = gate_.enter(peer, speaks_for_others);
  if (!place) {
    MXRING_PROBE("accept: 421, too many connections");
    return false;
  }
  newcomer.place = *place;
  return true;
}

// A connection that came while this was on its way is served. Each operation has a tag of its own:
// a second cancel for the same tag would find the first operation again, as long as that has not
// ended.
void Acceptor::drain() {
  if (!handed_over_) return;
  for (std::uint32_t i = 0; i < listeners_.size(); ++i) {
    for (std::uint32_t k = 0; k < kAcceptsPerTurn; ++k) {
      if ((armed_[i] >> k & 1) == 0) continue;
      ring_.cancel({uring::Operation::kAccept, k, i}, {uring::Operation::kCancel, 0, 0});
    }
  }
}

// Handed-over sockets outlive us: whoever the kernel has accepted for us is ours to serve.
bool Acceptor::quiet() const {
  return !handed_over_ ||
         std::ranges::all_of(armed_, [](std::uint32_t armed) { return armed == 0; });
}

void Acceptor::turn_away(const Newcomer& newcomer, smtp::ReplyId why) {
  context_.counters.add(obs::Counter::kConnectionsRefused);
  journal(newcomer, why);
  if (!newcomer.implicit_tls) {  // a reply in the clear would mean nothing under TLS
    ReplyCounter counter(context_.counters);
    std::array<char, smtp::kReplyLineBytesMax> line{};
    smtp::ReplyBuffer out(line, &counter);
    out.say(why, smtp::Stage::kConnect);
    // The socket is new and its send buffer empty: this neither blocks nor falls short.
    [[maybe_unused]] const ssize_t sent =
        ::send(newcomer.fd, line.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    ++context_.direct_system_calls;
  }
  ::close(newcomer.fd);
  ++context_.direct_system_calls;
}

void Acceptor::journal(const Newcomer& newcomer, smtp::ReplyId why) {
  Journal* const journal = context_.journal;
  if (journal == nullptr || !journal->wants(why)) return;
  const CutOff unsaid =
      why == replies::kDraining ? CutOff::kDrainingBeforeTls : CutOff::kTooManyBeforeTls;
  const bool admitted = newcomer.implicit_tls
                            ? journal->admit(unsaid, context_.now.wall)
                            : journal->admit(why, smtp::Stage::kConnect, context_.now.wall);
  if (!admitted) return;
  JournalLine line;
  line.time = context_.now.wall;
  line.session = context_.next_session();
  const std::string ip = newcomer.peer.address.to_string();
  line.ip = ip;
  line.port = newcomer.peer.port;
  newcomer.implicit_tls ? journal->say(line, unsaid)
                        : journal->say(line, why, smtp::Stage::kConnect);
}

void Acceptor::invariants() const {
  MXRING_ASSERT(armed_.size() == listeners_.size());
  for (const std::uint32_t armed : armed_) MXRING_ASSERT(armed >> kAcceptsPerTurn == 0);
}

}  // namespace mxring::server
