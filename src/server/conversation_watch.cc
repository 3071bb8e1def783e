// What a watcher sees of a conversation: what it is at, and its dialogue for those who follow it
// (server/trace.h).
#include <fmt/format.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "server/conversation.h"
#include "server/trace.h"

namespace mxring::server {

namespace {

// With six bytes for one at worst, a line still fits its place in the queue.
constexpr std::size_t kTextBytesMax = 512;
constexpr std::size_t kAddressBytesMax = 64;
constexpr std::size_t kRecipientsMax = 4;

std::string_view without_line_end(std::string_view line) {
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// Nobody offers AUTH here, and some send their password all the same.
std::string told(std::string_view line) {
  line = without_line_end(line);
  constexpr std::string_view kAuth = "AUTH";
  const std::string_view verb = line.substr(0, line.find(' '));
  if (base::ascii_iequals(verb, kAuth) && line.size() > verb.size()) return "AUTH (left out)";
  return std::string(line.substr(0, kTextBytesMax));
}

base::JsonWriter begun(std::int64_t wall_us, std::uint64_t run, std::uint64_t session,
                       std::string_view event) {
  base::JsonWriter json;
  json.begin_object();
  json.key("time").value(base::format_wall_time(wall_us));
  json.key("session").value(fmt::format("{:x}-{:x}", run, session));
  json.key("event").value(event);
  return json;
}

void push(Tracer& tracer, base::JsonWriter& json) {
  json.end_object();
  tracer.lines().push(json.text());
}

}  // namespace

Conversation::Activity Conversation::activity() const {
  switch (phase_) {
    case Phase::kTalking:
      break;
    case Phase::kHandshake:
      return Activity::kHandshake;
    case Phase::kLastWords:
    case Phase::kLingering:
    case Phase::kShut:
      return Activity::kClosing;
  }
  switch (hold_) {
    case Hold::kVerdict:
      return Activity::kVerdict;
    case Hold::kCommit:
      return Activity::kCommit;
    case Hold::kSlowed:
      return Activity::kSlowed;
    case Hold::kHeader:  // of a balancer; it is not welcomed yet
      return Activity::kHandshake;
    case Hold::kNone:
    case Hold::kOutput:
    case Hold::kLists:
      break;
  }
  if (session_.receiving()) return Activity::kData;
  return session_.in_transaction() ? Activity::kEnvelope : Activity::kIdle;
}

TraceMarks& Conversation::trace_marks() {
  MXRING_ASSERT(context_.tracers != nullptr);
  if (trace_ == nullptr) trace_ = std::make_unique<TraceMarks>();
  for (std::size_t i = 0; i < Tracers::kMax; ++i) {
    const Tracers::Place& place = context_.tracers->places[i];
    TraceMarks::Mark& mark = trace_->marks[i];
    if (mark.number == place.number) continue;
    mark = {.number = place.number};
    if (place.tracer == nullptr) continue;
    const TraceFilter& filter = place.tracer->filter();
    mark.never = filter.client && !filter.client->contains(facts_.address);
    mark.met = Tracer::kClient;
    if (!session_.in_transaction()) continue;  // what it has said already counts too
    meet_sender(*place.tracer, mark);
    for (std::size_t r = 0; r < session_.envelope().recipients(); ++r) {
      meet_recipient(*place.tracer, mark, session_.envelope().recipient(r).path);
    }
  }
  return *trace_;
}

void Conversation::meet_sender(const Tracer& tracer, TraceMarks::Mark& mark) const {
  const std::optional<std::string>& wanted = tracer.filter().sender;
  if (!wanted) return;
  const std::string_view sender = session_.envelope().reverse_path();
  if (wanted->empty() ? sender.empty() : is_address(*wanted, sender)) mark.met |= Tracer::kSender;
}

void Conversation::meet_recipient(const Tracer& tracer, TraceMarks::Mark& mark,
                                  std::string_view recipient) {
  const std::string& wanted = tracer.filter().recipient;
  if (!wanted.empty() && is_address(wanted, recipient)) mark.met |= Tracer::kRecipient;
}

void Conversation::meet_reply(const Tracer& tracer, TraceMarks::Mark& mark,
                              const smtp::Reply& reply) {
  const TraceFilter& filter = tracer.filter();
  if (filter.refused && !reply.is_refusal()) return;
  if (reply.codes().starts_with(filter.reply)) mark.met |= Tracer::kReply;
}

// Whoever follows it from now on is told what it knows of itself.
void Conversation::trace_begin(Tracer& tracer) {
  base::JsonWriter json = begun(context_.now.wall.us, context_.tracers->run, session_id_, "begin");
  json.key("client").begin_object();
  json.key("ip").value(facts_.ip);
  json.key("port").value(std::uint32_t{facts_.port});
  json.key("helo");
  const std::string_view helo = session_.helo();
  helo.empty() ? json.null() : json.value(helo.substr(0, 2 * kAddressBytesMax));
  json.end_object();
  json.key("tls").raw(facts_.tls.empty() || facts_.tls.size() > kTextBytesMax
                          ? std::string_view("null")
                          : std::string_view(facts_.tls));
  if (session_.in_transaction()) {
    const smtp::Envelope& envelope = session_.envelope();
    json.key("mail_from").value(envelope.reverse_path().substr(0, 2 * kAddressBytesMax));
    json.key("recipients").value(std::uint64_t{envelope.recipients()});
    json.key("rcpt_to").begin_array();
    for (std::size_t i = 0; i < std::min(envelope.recipients(), kRecipientsMax); ++i) {
      json.value(envelope.recipient(i).path.substr(0, kAddressBytesMax));
    }
    json.end_array();
  }
  push(tracer, json);
}

void Conversation::heard(std::string_view line) {
  if (context_.tracers == nullptr) return;
  TraceMarks& marks = trace_marks();
  marks.heard.clear();
  for (std::size_t i = 0; i < Tracers::kMax; ++i) {
    Tracer* const tracer = context_.tracers->places[i].tracer.get();
    const TraceMarks::Mark& mark = marks.marks[i];
    if (tracer == nullptr || mark.never) continue;
    if (!mark.follows) {
      marks.heard = line.substr(0, kTextBytesMax);
      continue;
    }
    base::JsonWriter json =
        begun(context_.now.wall.us, context_.tracers->run, session_id_, "client");
    json.key("line").value(told(line));
    push(*tracer, json);
  }
}

void Conversation::trace_reply(const smtp::Reply& reply, smtp::Stage stage) {
  TraceMarks& marks = trace_marks();
  for (std::size_t i = 0; i < Tracers::kMax; ++i) {
    Tracer* const tracer = context_.tracers->places[i].tracer.get();
    TraceMarks::Mark& mark = marks.marks[i];
    if (tracer == nullptr || mark.never) continue;
    if (!mark.follows) {
      if (stage == smtp::Stage::kMail) meet_sender(*tracer, mark);
      if (stage == smtp::Stage::kRecipient) {
        meet_recipient(*tracer, mark, session_.offered_recipient().path);
      }
      meet_reply(*tracer, mark, reply);
      if ((mark.met & tracer->wanted()) != tracer->wanted() || !tracer->take(session_id_)) continue;
      MXRING_ASSERT(!mark.never && mark.number != 0);
      mark.follows = true;
      trace_begin(*tracer);
      if (!marks.heard.empty()) {
        base::JsonWriter json =
            begun(context_.now.wall.us, context_.tracers->run, session_id_, "client");
        json.key("line").value(told(marks.heard));
        push(*tracer, json);
      }
    }
    base::JsonWriter json =
        begun(context_.now.wall.us, context_.tracers->run, session_id_, "server");
    json.key("stage").value(smtp::word(stage));
    json.key("line").value(fmt::format("{} {}", reply.codes(), reply.text().substr(0, 400)));
    push(*tracer, json);
  }
  marks.heard.clear();
}

// Something of our own, as members of a line: to those who follow already, and of a handshake to
// whoever might.
void Conversation::trace_event(std::string_view event,
                               const std::function<void(base::JsonWriter&)>& members) {
  if (context_.tracers == nullptr) return;
  TraceMarks& marks = trace_marks();
  for (std::size_t i = 0; i < Tracers::kMax; ++i) {
    Tracer* const tracer = context_.tracers->places[i].tracer.get();
    TraceMarks::Mark& mark = marks.marks[i];
    if (tracer == nullptr || mark.never) continue;
    if (!mark.follows) {
      if ((mark.met & tracer->wanted()) != tracer->wanted() || !tracer->take(session_id_)) continue;
      mark.follows = true;
      trace_begin(*tracer);
    }
    base::JsonWriter json = begun(context_.now.wall.us, context_.tracers->run, session_id_, event);
    members(json);
    push(*tracer, json);
  }
}

void Conversation::trace_tls(std::string_view result) {
  if (context_.tracers == nullptr) return;
  trace_event("tls", [&](base::JsonWriter& json) {
    json.key("result").value(result);
    json.key("tls").raw(facts_.tls.empty() || facts_.tls.size() > kTextBytesMax
                            ? std::string_view("null")
                            : std::string_view(facts_.tls));
  });
}

void Conversation::trace_message() {
  if (context_.tracers == nullptr) return;
  trace_event("message", [&](base::JsonWriter& json) {
    json.key("bytes").value(session_.data().content_bytes());
  });
}

void Conversation::trace_verdict(mailauth::Disposition disposition) {
  if (context_.tracers == nullptr) return;
  trace_event("verdict", [&](base::JsonWriter& json) {
    const auto word_or_null = [&json](std::string_view key, std::string_view text) {
      json.key(key);
      text.empty() ? json.null() : json.value(text);
    };
    word_or_null("spf", judged_.spf);
    json.key("dkim").begin_array();
    if (check_ != nullptr) {
      for (const auto& signature : check_->evaluation().dkim()) {
        json.value(mailauth::word(signature.result));
      }
    }
    json.end_array();
    word_or_null("dmarc", judged_.dmarc);
    json.key("disposition").value(mailauth::word(disposition));
  });
}

void Conversation::trace_end() {
  if (trace_ == nullptr || context_.tracers == nullptr) return;
  for (std::size_t i = 0; i < Tracers::kMax; ++i) {
    const Tracers::Place& place = context_.tracers->places[i];
    const TraceMarks::Mark& mark = trace_->marks[i];
    if (place.tracer == nullptr || mark.number != place.number || !mark.follows) continue;
    base::JsonWriter json = begun(context_.now.wall.us, context_.tracers->run, session_id_, "end");
    json.key("said_goodbye").value(session_.said_goodbye());
    json.key("messages").value(std::uint64_t{session_.messages()});
    json.key("received_bytes").value(connection_.bytes_received());
    push(*place.tracer, json);
    place.tracer->session_ended(session_id_);
  }
}

}  // namespace mxring::server
