// The sink that is a JetStream stream, over libnats. Every message bears the id of its record and
// the id of the message before (Nats-Expected-Last-Msg-Id), so that resends cannot land out of
// order and another publisher, or another stream of the same name, is noticed. After any failure
// the connection is given up and the stream is asked where it stands; publishing goes on after its
// last message. A new leader of a cluster may remember another id than that message's: then the
// first one says which sequence it expects, which vouches for the same.
//
// Thread: the relay's. Connecting and asking block, and are done on a thread of their own; libnats
// tells acknowledgements on its threads. Both leave what they have in a mailbox with a descriptor.
#include <fmt/format.h>
#include <nats/nats.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <list>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/assert.h"
#include "base/owned_fd.h"
#include "base/text.h"
#include "relay/event.h"
#include "relay/fault_seam.h"
#include "relay/nats_place.h"
#include "relay/sink.h"

namespace mxring::relay {

namespace {

constexpr std::int64_t kAckWaitMs =
    5000;  // without it a lost acknowledgement is waited for for ever
constexpr std::int64_t kAskWaitMs = 3000;
constexpr std::int64_t kAgainFirstNs = 200 * base::kNsPerMs;
constexpr std::int64_t kAgainMaxNs = 5 * base::kNsPerSecond;
constexpr std::uint32_t kUnderWayMax = 1024;
constexpr std::size_t kHeaderRoom = 1024;

// From other threads to the relay's.
struct Mailbox {
  struct Ack {
    std::string id;
    std::uint64_t sequence = 0;
    std::string error;  // empty: the stream has it
    jsErrCode code = static_cast<jsErrCode>(0);
  };
  explicit Mailbox(int fd) : event_fd(fd) {}
  void put(Ack ack) {
    bool first = false;
    {
      const std::lock_guard lock(mutex);
      first = acks.empty();
      acks.push_back(std::move(ack));
    }
    if (first) ring();  // else that has been done, and nobody has looked since
  }
  void ring() const {
    const std::uint64_t one = 1;
    (void)!::write(event_fd, &one, sizeof one);
  }
  int event_fd;
  std::mutex mutex;
  std::vector<Ack> acks;
};

// What a look at the server found.
struct Look {
  natsConnection* connection = nullptr;
  jsCtx* stream = nullptr;
  NatsStream state;
  std::int64_t payload_max = 0;
  std::string error;

  void close() {
    if (stream != nullptr) jsCtx_Destroy(std::exchange(stream, nullptr));
    if (connection != nullptr) natsConnection_Destroy(std::exchange(connection, nullptr));
  }
};

void on_ack(jsCtx*, natsMsg* message, jsPubAck* ack, jsPubAckErr* failed, void* closure) {
  auto* mailbox = static_cast<Mailbox*>(closure);
  Mailbox::Ack told;
  const char* id = nullptr;
  if (natsMsgHeader_Get(message, "Nats-Msg-Id", &id) == NATS_OK && id != nullptr) told.id = id;
  if (ack != nullptr) told.sequence = ack->Sequence;
  if (failed != nullptr) {
    told.error = failed->ErrText != nullptr ? failed->ErrText : natsStatus_GetText(failed->Err);
    told.code = failed->ErrCode;
    if (failed->ErrCode != 0) {
      told.error += fmt::format(" ({})", static_cast<int>(failed->ErrCode));
    }
  }
  natsMsg_Destroy(message);
  mailbox->put(std::move(told));
}

class Nats : public Sink {
 public:
  Nats(const Config& config, const SinkPlace& place)
      : config_(config.nats),
        claim_(!config.claim_url.empty()),
        place_(place),
        memory_(NatsMemory::load(*place.fields)),
        writer_({config_.payload, true, ~std::uint64_t{0}, config.claim_url,
                 parse_tokens(config.bounce_tokens)}),
        event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (memory_.created_ns == 0 && !memory_.moved) memory_.begin = place.committed;
    if (config_.subject.empty()) config_.subject = config_.stream;
  }
  ~Nats() override {
    abandon();
    if (thread_.joinable()) thread_.join();
    look_.close();
  }

  void shape(EngineOptions& options) const override {
    options.order = Order::kChain;
    options.under_way_max = kUnderWayMax;
    options.under_way_bytes = config_.bytes_in_flight;
    options.window_records = kUnderWayMax;
    options.window_bytes = config_.bytes_in_flight + (1 << 20);
  }
  bool accepts() const override { return state_ == State::kOpen; }
  bool takes_gaps() const override { return true; }
  void begin(Ticket ticket, Item& item, base::Now now) override;
  void add_waits(std::vector<pollfd>& waits) override {
    waits.push_back({event_fd_.get(), POLLIN, 0});
  }
  void wait(std::vector<pollfd>& others, int at_most_ms) override;
  std::optional<base::MonoTime> due() const override {
    if (state_ == State::kClosed) return ask_at_;
    return std::nullopt;
  }
  void work(base::Now now) override;
  std::optional<Resume> take_resume() override { return std::exchange(resume_, std::nullopt); }
  void before_commit(Offset next, seglog::CursorFields& fields) override;
  void committed(Offset next) override { committed_ = next; }
  std::string trouble() const override { return trouble_; }
  void abandon() override;

 private:
  enum class State : std::uint8_t { kClosed, kAsking, kOpen };
  struct Sent {
    Ticket ticket;
    base::MonoTime begun;
    Offset next = 0;
  };
  void ask();
  static void look_at(const NatsConfig& config, Mailbox& mailbox, Look& look);
  void answered(base::Now now);
  void acknowledged(const Mailbox::Ack& ack, base::Now now);
  void give_up(std::string why, base::Now now);
  natsMsg* message_of(const Item& item, const EventWriter::Event& event, bool claim);
  void refuse(Ticket ticket, base::Now now, std::string why);

  NatsConfig config_;
  bool claim_;
  SinkPlace place_;
  NatsMemory memory_;
  EventWriter writer_;
  base::OwnedFd event_fd_;
  std::list<std::unique_ptr<Mailbox>> mailboxes_;  // libnats may tell late: old ones stay a while
  Look look_;
  std::thread thread_;
  State state_ = State::kClosed;
  base::MonoTime ask_at_;
  std::int64_t again_ns_ = kAgainFirstNs;
  std::string trouble_;
  std::optional<Resume> resume_;
  std::unordered_map<std::string, Sent> sent_;
  bool by_sequence_ = false;  // what the first message after a resume expects
  std::string previous_id_;   // of the message published last, or the stream's last
  std::uint64_t previous_sequence_ = 0;
  Offset committed_ = 0;
};

// On the thread that may block.
void Nats::look_at(const NatsConfig& config, Mailbox& mailbox, Look& look) {
  natsOptions* options = nullptr;
  std::vector<const char*> servers;
  for (const std::string& server : config.servers) servers.push_back(server.c_str());
  natsStatus status = natsOptions_Create(&options);
  const auto set = [&](natsStatus next) {
    if (status == NATS_OK) status = next;
  };
  if (status == NATS_OK) {
    set(natsOptions_SetServers(options, servers.data(), static_cast<int>(servers.size())));
    set(natsOptions_SetName(options, "mxring-relay"));
    set(natsOptions_SetTimeout(options, kAskWaitMs));
    set(natsOptions_SetAllowReconnect(options, false));
    if (!config.credentials_file.empty()) {
      set(natsOptions_SetUserCredentialsFromFiles(options, config.credentials_file.c_str(),
                                                  nullptr));
    }
    if (!config.ca_file.empty()) {
      set(natsOptions_SetSecure(options, true));
      set(natsOptions_LoadCATrustedCertificates(options, config.ca_file.c_str()));
    }
  }
  if (status == NATS_OK) set(natsConnection_Connect(&look.connection, options));
  natsOptions_Destroy(options);
  jsOptions js;
  jsOptions_Init(&js);
  js.Wait = kAskWaitMs;
  js.PublishAsync.AckHandler = on_ack;
  js.PublishAsync.AckHandlerClosure = &mailbox;
  js.PublishAsync.MaxPending = 2 * kUnderWayMax;
  if (status == NATS_OK) set(natsConnection_JetStream(&look.stream, look.connection, &js));
  jsStreamInfo* info = nullptr;
  jsErrCode code = static_cast<jsErrCode>(0);
  if (status == NATS_OK) {
    status = js_GetStreamInfo(&info, look.stream, config.stream.c_str(), nullptr, &code);
  }
  if (status == NATS_NOT_FOUND && config.create) {
    jsStreamConfig made;
    jsStreamConfig_Init(&made);
    const char* subjects[] = {config.subject.c_str()};
    made.Name = config.stream.c_str();
    made.Subjects = subjects;
    made.SubjectsLen = 1;
    made.Replicas = config.replicas;
    made.Storage = js_FileStorage;
    status = js_AddStream(&info, look.stream, &made, nullptr, &code);
  }
  if (status == NATS_OK) {
    look.state = {info->Created, info->State.Msgs, info->State.LastSeq, {}};
    look.payload_max = natsConnection_GetMaxPayload(look.connection);
    const std::int64_t stream_max = info->Config->MaxMsgSize;
    if (stream_max > 0) look.payload_max = std::min(look.payload_max, stream_max);
  }
  natsMsg* last = nullptr;
  if (status == NATS_OK && look.state.messages > 0) {
    status = js_GetMsg(&last, look.stream, config.stream.c_str(), look.state.last_sequence, nullptr,
                       &code);
    const char* id = nullptr;
    if (status == NATS_OK && natsMsgHeader_Get(last, "Nats-Msg-Id", &id) == NATS_OK) {
      look.state.last_id = id;
    }
  }
  natsMsg_Destroy(last);
  jsStreamInfo_Destroy(info);
  if (status != NATS_OK) {
    const char* why = nats_GetLastError(nullptr);
    look.error = fmt::format("stream {}: {}", config.stream,
                             why != nullptr && *why != '\0' ? why : natsStatus_GetText(status));
  }
}

void Nats::ask() {
  MXRING_ASSERT(state_ == State::kClosed);
  if (thread_.joinable()) thread_.join();
  look_.close();
  look_ = {};
  constexpr std::size_t kMailboxesMax = 16;
  mailboxes_.push_back(std::make_unique<Mailbox>(event_fd_.get()));
  if (mailboxes_.size() > kMailboxesMax) mailboxes_.pop_front();
  state_ = State::kAsking;
  thread_ = std::thread([this, mailbox = mailboxes_.back().get()] {
    look_at(config_, *mailbox, look_);
    mailbox->put({"", 0, "looked", {}});
  });
}

void Nats::give_up(std::string why, base::Now now) {
  trouble_ = base::escaped(why);
  sent_.clear();
  look_.close();
  state_ = State::kClosed;
  ask_at_ = now.mono + again_ns_;
  again_ns_ = std::min(again_ns_ * 2, kAgainMaxNs);
}

void Nats::answered(base::Now now) {
  thread_.join();
  if (!look_.error.empty()) return give_up(look_.error, now);
  memory_.last_sequence = std::max(memory_.last_sequence, look_.state.last_sequence);
  const auto place =
      place_of(look_.state, memory_, std::max(committed_, place_.committed), place_.first);
  if (!place) return give_up(place.error(), now);
  if (memory_.created_ns != look_.state.created_ns) {
    memory_.created_ns = look_.state.created_ns;
    memory_.last_sequence = look_.state.last_sequence;
  }
  memory_.moved = false;
  memory_.next = place->next;
  previous_id_ = by_sequence_ ? std::string() : place->expected_id;
  previous_sequence_ = place->expected_sequence;
  resume_ = Resume{place->next, place->why};
  state_ = State::kOpen;
  trouble_.clear();
}

natsMsg* Nats::message_of(const Item& item, const EventWriter::Event& event, bool claim) {
  natsMsg* message = nullptr;
  if (natsMsg_Create(&message, config_.subject.c_str(), nullptr, event.body.data(),
                     static_cast<int>(event.body.size())) != NATS_OK) {
    return nullptr;
  }
  natsMsgHeader_Set(message, "Nats-Msg-Id", item.id().c_str());
  if (previous_id_.empty()) {
    natsMsgHeader_Set(message, "Nats-Expected-Last-Sequence",
                      std::to_string(previous_sequence_).c_str());
  } else {
    natsMsgHeader_Set(message, "Nats-Expected-Last-Msg-Id", previous_id_.c_str());
  }
  natsMsgHeader_Set(message, "Content-Type", event.content_type);
  natsMsgHeader_Set(message, "Mx-Type", std::string(event.type).c_str());
  natsMsgHeader_Set(message, "Mx-Offset", std::to_string(item.record().offset).c_str());
  if (claim) natsMsgHeader_Set(message, "Mx-Claim", writer_.claim_of(item).c_str());
  return message;
}

void Nats::refuse(Ticket ticket, base::Now now, std::string why) {
  Outcome outcome;
  outcome.ticket = ticket;
  outcome.begun = now.mono;
  outcome.kind = Outcome::Kind::kForGood;
  outcome.partly = true;  // it is the message, not the stream
  outcome.reply = std::move(why);
  tell(std::move(outcome));
}

void Nats::begin(Ticket ticket, Item& item, base::Now now) {
  if (state_ != State::kOpen) return;  // given up meanwhile: a resume will follow
  const auto room = static_cast<std::size_t>(look_.payload_max);
  EventWriter::Event event = writer_.write(item);
  bool claim = false;
  if (event.body.size() + kHeaderRoom > room) {
    const std::size_t size = event.body.size();
    claim = true;
    if (claim_) event = writer_.write(item, true);
    if (!claim_ || event.body.size() + kHeaderRoom > room) {
      return refuse(ticket, now,
                    fmt::format("{} bytes, and the stream takes {}{}", size, room,
                                claim_ ? "" : "; [claim] url would name it instead"));
    }
  }
  natsMsg* message = message_of(item, event, claim);
  jsPubOptions options;
  jsPubOptions_Init(&options);
  options.MaxWait = kAckWaitMs;
  natsStatus status = message == nullptr ? NATS_NO_MEMORY : NATS_OK;
  if (status == NATS_OK && !seam::step()) status = NATS_IO_ERROR;
  if (status == NATS_OK) status = js_PublishMsgAsync(look_.stream, &message, &options);
  natsMsg_Destroy(message);
  if (status != NATS_OK) return give_up(natsStatus_GetText(status), now);
  sent_[item.id()] = {ticket, now.mono, item.next()};
  previous_id_ = item.id();
}

void Nats::acknowledged(const Mailbox::Ack& ack, base::Now now) {
  const auto found = sent_.find(ack.id);
  if (found == sent_.end()) return;
  if (!ack.error.empty()) {
    if (ack.code == JSStreamWrongLastMsgIDErr) by_sequence_ = true;
    if (ack.code == JSStreamWrongLastSequenceErr) by_sequence_ = false;
    return give_up(ack.error, now);
  }
  memory_.next = std::max(memory_.next, found->second.next);
  memory_.last_sequence = std::max(memory_.last_sequence, ack.sequence);
  again_ns_ = kAgainFirstNs;
  Outcome outcome;
  outcome.ticket = found->second.ticket;
  outcome.begun = found->second.begun;
  sent_.erase(found);
  tell(std::move(outcome));
}

// A wake-up for each acknowledgement would cost as much as a message: those of a millisecond are
// taken together.
void Nats::wait(std::vector<pollfd>& others, int at_most_ms) {
  constexpr int kGatherMs = 1;
  if (!sent_.empty() && at_most_ms > kGatherMs) {
    if (::poll(others.data(), others.size(), kGatherMs) > 0) return;
    at_most_ms -= kGatherMs;
  }
  Sink::wait(others, at_most_ms);
}

void Nats::work(base::Now now) {
  std::uint64_t rung = 0;
  (void)!::read(event_fd_.get(), &rung, sizeof rung);
  if (!mailboxes_.empty()) {
    std::vector<Mailbox::Ack> acks;
    Mailbox& mailbox = *mailboxes_.back();
    {
      const std::lock_guard lock(mailbox.mutex);
      acks.swap(mailbox.acks);
    }
    for (const Mailbox::Ack& ack : acks) {
      if (ack.id.empty() && state_ == State::kAsking) {
        answered(now);
      } else if (state_ == State::kOpen) {
        if (!seam::step()) return give_up("an acknowledgement was lost", now);
        acknowledged(ack, now);
      }
    }
  }
  if (state_ == State::kOpen && natsConnection_IsClosed(look_.connection)) {
    give_up("the connection to the stream's servers is lost", now);
  }
  if (state_ == State::kClosed && now.mono >= ask_at_) ask();
}

void Nats::before_commit(Offset, seglog::CursorFields& fields) {
  memory_.store(fields);
}

void Nats::abandon() {
  if (thread_.joinable()) thread_.join();
  sent_.clear();
  look_.close();
  state_ = State::kClosed;
  ask_at_ = {std::numeric_limits<std::int64_t>::max()};
}

}  // namespace

MadeSink make_nats(const Config& config, const SinkPlace& place) {
  return std::make_unique<Nats>(config, place);
}

std::string nats_library() {
  return fmt::format("libnats {}", nats_GetVersion());
}

}  // namespace mxring::relay
