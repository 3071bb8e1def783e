#include "tests/sim/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace mxring::sim {

Client::Client(World& world, Ledger& ledger, std::string client_name, Script script,
               Manners manners, Tolerance tolerance)
    : world_(world),
      ledger_(ledger),
      dice_(world.dice().fork()),
      name_(std::move(client_name)),
      script_(std::move(script)),
      manners_(manners),
      tolerance_(tolerance) {
  for (const Mail& mail : script_.mails) {
    Promise promise;
    promise.content = mail.content;
    promise.from = mail.from;
    promise.fate = mail.fate;
    ledger_.mails.emplace(mail.mark, std::move(promise));
  }
}

bool Client::connect(std::uint16_t port, const Person& person) {
  person_ = person;
  asker_.ip = person.ip;
  connected_at_ = world_.now();
  stream_ = world_.net().connect(port, person.address);
  if (stream_ == nullptr) {
    over_ = true;
    return false;
  }
  world_.trace(fmt::format("{}: connects as stream {} for {}", name_, stream_->number, asker_.ip));
  if (person_.implicit_tls) {
    start_tls();
    wire_->to_server.insert(0, person_.header);
  } else {
    unsent_ = person_.header;
    queued_ = unsent_.size();
  }
  waiting_.push_back({.act = Act::kBanner});
  stream_->on_change = [self = shared_from_this()] { self->pump(); };
  if (!manners_.waits_for_banner) begin_group();
  schedule(0);
  return true;
}

void Client::schedule(Ns delay) {
  if (scheduled_ || over_) return;
  scheduled_ = true;
  world_.after(delay, [self = shared_from_this()] {
    self->scheduled_ = false;
    self->pump();
  });
}

void Client::end(const char* why) {
  if (over_) return;
  over_ = true;
  world_.trace(fmt::format("{}: ends, {}", name_, why));
  stream_->on_change = nullptr;
  stream_->far_closed = true;
  world_.net().end(stream_);
}

void Client::pump() {
  if (over_) return;
  if (manners_.reads) read_replies();
  if (over_) return;
  if (stream_->reset) {
    const bool fine = tolerance_.faults || tolerance_.slow || given_up_ || model_.closed();
    if (!fine) convict(fmt::format("{}: the connection is reset; {}", name_, describe()));
    end("reset");
    return;
  }
  if (stream_->to_far.ended && (stream_->to_far.bytes.empty() || !manners_.reads)) {
    const bool fine = tolerance_.faults || tolerance_.slow || given_up_ || model_.closed();
    // One too many of a client cannot be told so before there is TLS.
    const bool crowded =
        person_.implicit_tls && states_.empty() && ledger_.limits.connections_per_ip < 50;
    if (!fine && !crowded) {
      convict(fmt::format("{}: the server hangs up; {}", name_, describe()));
    }
    end("the server hangs up");
    return;
  }
  if (given_up_) return;
  send_some();
}

// A group has been answered: the next one.
void Client::begin_group() {
  if (next_group_ == script_.groups.size()) {
    if (!model_.closed()) give_up();
    return;
  }
  for (Command& command : script_.groups[next_group_]) {
    if (command.act == Act::kContent && skip_content_) {
      skip_content_ = false;  // DATA was refused
      continue;
    }
    queued_ += command.bytes.size();
    unsent_ += command.bytes;
    ends_.emplace_back(queued_, command);
    waiting_.push_back(std::move(command));
    waiting_.back().bytes.clear();
  }
  ++next_group_;
  if (waiting_.empty()) begin_group();
}

void Client::note_sent(const Command& command) {
  if (command.act == Act::kMail || command.act == Act::kRcpt) {
    ledger_.rates.sent({person_.process, asker_.ip}, command.act == Act::kRcpt);
  }
  if (command.act != Act::kContent && command.act != Act::kLastChunk) return;
  Promise& promise = ledger_.mails.at(script_.mails[command.mail].mark);
  promise.complete = true;
  promise.ip = asker_.ip;
  promise.tls = wire_ != nullptr;
  promise.faults = tolerance_.faults;
  promise.dns = tolerance_.dns;
}

void Client::note_all_sent() {
  while (!ends_.empty() && ends_.front().first <= sent_) {
    note_sent(ends_.front().second);
    if (waiting_.size() >= ends_.size()) {
      waiting_[waiting_.size() - ends_.size()].sent_at = world_.now();
    }
    ends_.erase(ends_.begin());
  }
}

void Client::start_tls() {
  if (!heard_.empty()) convict(fmt::format("{}: hears more in the clear: {}", name_, heard_));
  wire_ = std::make_unique<TlsWire>(person_.tls_12);
  model_.encrypted();
}

// Records go in pieces of any size. True: nothing of them is left, and more may follow.
bool Client::send_ciphertext() {
  std::string& bytes = wire_->to_server;
  if (!bytes.empty()) {
    std::size_t size = bytes.size();
    if (manners_.pieces == Manners::Pieces::kRandom) size = 1 + dice_.below(size);
    if (manners_.pieces == Manners::Pieces::kBytes)
      size = 1 + dice_.below(std::min<std::size_t>(8, size));
    const std::size_t taken = world_.net().write(stream_, std::string_view(bytes).substr(0, size));
    bytes.erase(0, taken);
    ciphertext_sent_ += taken;
    record_left_ -= std::min(record_left_, taken);
    if (record_left_ == 0) {
      sent_ += std::exchange(in_record_, 0);
      note_all_sent();
    }
    if (taken > 0) world_.trace(fmt::format("{}: sends {} bytes of ciphertext", name_, taken));
    // In the middle of the handshake, or of a record.
    const bool open = wire_->state() == TlsWire::State::kOpen;
    if ((open ? sent_ + in_record_ : ciphertext_sent_) >= manners_.gives_up_after &&
        dice_.permille(500)) {
      give_up();
      return false;
    }
    if (!bytes.empty()) {
      schedule(dice_.between(kUs, std::max<Ns>(manners_.pause_max, kUs)));
      return false;
    }
  }
  return wire_->state() == TlsWire::State::kOpen;
}

void Client::send_some() {
  if (wire_ != nullptr && !send_ciphertext()) return;
  if (sent_ >= manners_.gives_up_after) return give_up();
  if (unsent_.empty()) return;
  std::size_t size = unsent_.size();
  if (manners_.pieces == Manners::Pieces::kRandom) size = 1 + dice_.below(size);
  if (manners_.pieces == Manners::Pieces::kBytes) size = 1;
  size = std::min(size, manners_.gives_up_after - std::min(manners_.gives_up_after, sent_));
  if (wire_ != nullptr) {
    size = std::min<std::size_t>(size, 16'000);  // one record
    if (dice_.permille(20)) wire_->renew_keys();
    wire_->write(std::string_view(unsent_).substr(0, size));
    unsent_.erase(0, size);
    in_record_ = size;
    record_left_ = wire_->to_server.size();
    schedule(kUs);
    return;
  }
  const std::size_t taken = world_.net().write(stream_, std::string_view(unsent_).substr(0, size));
  unsent_.erase(0, taken);
  sent_ += taken;
  if (taken > 0) world_.trace(fmt::format("{}: sends {} bytes", name_, taken));
  note_all_sent();
  if (sent_ >= manners_.gives_up_after) return give_up();
  if (!unsent_.empty()) schedule(dice_.between(kUs, std::max<Ns>(manners_.pause_max, kUs)));
}

void Client::give_up() {
  given_up_ = true;
  world_.trace(fmt::format("{}: gives up after {} bytes", name_, sent_));
  switch (manners_.end) {
    case Manners::End::kClose:
      if (wire_ != nullptr && wire_->to_server.empty() && dice_.permille(500)) {
        wire_->say_goodbye();
        world_.net().write(stream_, wire_->to_server);
      }
      end("closes");
      return;
    case Manners::End::kReset:
      world_.net().reset(stream_);
      end("resets");
      return;
    case Manners::End::kHalfClose:
      world_.net().end(stream_);
      return;
    case Manners::End::kSilence:  // until the server has had enough of it
      tolerance_.slow = true;
      return;
  }
}

void Client::read_replies() {
  const std::size_t size = manners_.read_pause_max > 0 ? 1 + dice_.below(40) : ~std::size_t{0};
  const std::string bytes = world_.net().read(stream_, size);
  if (wire_ == nullptr || person_.refused) {
    heard_ += bytes;
  } else {
    if (!bytes.empty()) wire_->receive(bytes);
    heard_ += wire_->read();
    if (wire_->state() == TlsWire::State::kFailed) {
      const bool fine = tolerance_.faults || tolerance_.slow || given_up_;
      if (!fine) convict(fmt::format("{}: TLS fails; {}", name_, describe()));
      return end("TLS fails");
    }
  }
  for (std::size_t end_of_line; (end_of_line = heard_.find('\n')) != std::string::npos;) {
    std::string line = heard_.substr(0, end_of_line + 1);
    heard_.erase(0, end_of_line + 1);
    take_line(std::move(line));
    if (over_) return;
  }
  if (!stream_->to_far.bytes.empty()) {
    schedule(dice_.between(kUs, std::max<Ns>(manners_.read_pause_max, kUs)));
  }
}

void Client::take_line(std::string line) {
  world_.trace(fmt::format("{}: hears {}", name_, line.substr(0, line.size() - 1)));
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool formed = line.size() >= 6 && line.size() <= 512 && line.ends_with("\r\n") &&
                      is_digit(line[0]) && is_digit(line[1]) && is_digit(line[2]) &&
                      (line[3] == ' ' || line[3] == '-') &&
                      std::ranges::all_of(line.substr(0, line.size() - 2),
                                          [](char c) { return c >= 0x20 && c < 0x7F; });
  if (!formed) convict(fmt::format("{}: hears what is no reply: \"{}\"", name_, line));
  line.resize(line.size() - 2);
  if (first_line_.empty()) {
    first_line_ = line;
  } else if (line.substr(0, 3) != first_line_.substr(0, 3)) {
    convict(fmt::format("{}: lines of one reply differ: \"{}\"", name_, line));
  }
  if (line[3] == '-') return;
  first_line_.clear();
  const std::string code = line.substr(0, 3);
  std::string reply = code;
  const std::size_t space = line.find(' ', 4);
  const std::string word = line.substr(4, space == std::string::npos ? space : space - 4);
  const bool enhanced = word.size() >= 5 && word[0] == code[0] && word[1] == '.';
  if (enhanced) reply += ' ' + word;
  told_of_drain_ = line.contains("Shutting down");
  on_reply(reply, line.substr(line.rfind(' ') + 1));
}

void Client::on_reply(const std::string& reply, const std::string& last_word) {
  judge_time(waiting_.empty() ? nullptr : &waiting_.front(), reply, told_of_drain_);
  if (waiting_.empty()) {
    // Told without being asked: only a farewell may be.
    const bool fine = tolerance_.faults || tolerance_.slow || given_up_ ||
                      (model_.guessed_too_often() && reply == "421 4.7.0");
    if (reply.starts_with("421") && fine) {
      end("told to go");
      return;
    }
    convict(fmt::format("{}: a reply to nothing: {}", name_, reply));
  }
  const Command command = std::move(waiting_.front());
  waiting_.pop_front();
  Fate fate = Fate::kAccept;
  if (command.mail != ~std::size_t{0}) fate = script_.mails[command.mail].fate;
  // An unfinished command is answered only when the server has had enough.
  Tolerance tolerance = tolerance_;
  if (!manners_.waits_for_banner && command.act == Act::kBanner && reply == "554 5.5.0") {
    end("spoke too early");
    return;
  }
  if (given_up_) tolerance.slow = true;
  const std::set<std::string> right_ones = right_replies(command);
  const std::string wrong =
      model_.judge(command.act, fate, reply, tolerance, right_ones.empty() ? nullptr : &right_ones);
  if (!wrong.empty() && command.mail != ~std::size_t{0} && world_.readable()) {
    std::fprintf(stderr, "the message:\n%s\n", script_.mails[command.mail].content.c_str());
  }
  if (!wrong.empty()) convict(fmt::format("{}: {}; {}", name_, wrong, describe()));
  note_reply(command, reply);
  switch (command.act) {
    case Act::kMail:
    case Act::kReset:
    case Act::kEhlo:
    case Act::kHelo:
      recipients_.clear();
      break;
    case Act::kRcpt:
      if (reply[0] == '2') recipients_.push_back(command.word);
      break;
    case Act::kData:
      skip_content_ = reply != "354";
      break;
    case Act::kChunk:
      if (reply[0] == '5' && reply != "503 5.5.1" && reply != "554 5.5.1") {
        note_end_of_mail(command, reply, last_word);
      }
      break;
    case Act::kContent:
    case Act::kLastChunk:
      note_end_of_mail(command, reply, last_word);
      break;
    default:
      break;
  }
  if (model_.closed()) {
    end(command.act == Act::kQuit ? "bye" : "told to go");
    return;
  }
  if (waiting_.empty() && unsent_.empty() && !given_up_) {
    begin_group();
    if (!over_ && !given_up_) schedule(dice_.between(kUs, std::max<Ns>(manners_.pause_max, kUs)));
  }
}

// What else than the one good answer there may be; empty: only that.
std::set<std::string> Client::right_replies(const Command& command) {
  const base::Limits& limits = ledger_.limits;
  const RateBook::Who who{person_.process, asker_.ip};
  std::set<std::string> all;
  if (command.act == Act::kBanner && person_.refused) return {"421 4.3.0"};
  if (command.act == Act::kBanner && !person_.header.empty() && tolerance_.slow) {
    return {"220", "421 4.3.0"};
  }
  if (command.act == Act::kMail) {
    all = {"250 2.1.0"};
    if (ledger_.rates.may_be_too_many(who, false, limits.messages_per_minute)) {
      all.insert("450 4.7.0");
    }
  }
  if (command.act == Act::kRcpt) {
    all = ledger_.policy->answers(states_, asker_, command.word, tolerance_.dns);
    if (ledger_.rates.may_be_too_many(who, true, limits.recipients_per_minute)) {
      all.insert("450 4.7.0");
    }
  }
  return all;
}

// What it makes known about who is asking.
void Client::note_reply(const Command& command, const std::string& reply) {
  const RateBook::Who who{person_.process, asker_.ip};
  const base::Limits& limits = ledger_.limits;
  const bool good = reply[0] == '2';
  switch (command.act) {
    case Act::kBanner:
      states_ = ledger_.policy->in_force(connected_at_, world_.now());
      return;
    case Act::kEhlo:
    case Act::kHelo:
      if (good) asker_.helo = named_hello_.empty() ? command.word : named_hello_;
      return;
    case Act::kStartTls:
      if (good) start_tls();
      asker_.helo.clear();
      return;
    case Act::kXclient:
      if (!good) return;
      asker_.ip = command.ip;
      asker_.helo.clear();
      if (!command.word.empty()) named_hello_ = command.word;
      return;
    case Act::kMail:
      if (!good) return;
      asker_.sender = script_.mails[command.mail].from;
      if (ledger_.rates.taken(who, false, command.sent_at, world_.now(),
                              limits.messages_per_minute)) {
        return;
      }
      convict(fmt::format("{}: more messages of {} within a minute than twice {}", name_, asker_.ip,
                          limits.messages_per_minute));
    case Act::kRcpt:
      // Known or not, it was counted.
      if (reply == "450 4.7.0" || reply == "503 5.5.1" || reply == "452 4.5.3") return;
      if (ledger_.rates.taken(who, true, command.sent_at, world_.now(),
                              limits.recipients_per_minute)) {
        return;
      }
      convict(fmt::format("{}: more recipients of {} within a minute than twice {}", name_,
                          asker_.ip, limits.recipients_per_minute));
    default:
      return;
  }
}

void Client::note_end_of_mail(const Command& command, const std::string& reply,
                              const std::string& last_word) {
  Promise& promise = ledger_.mails.at(script_.mails[command.mail].mark);
  promise.faults = tolerance_.faults;
  promise.dns = tolerance_.dns;
  if (reply != "250 2.0.0") {
    promise.refused = reply;
    return;
  }
  const bool number = !last_word.empty() && std::ranges::all_of(last_word, [](char c) {
    return std::isdigit(static_cast<unsigned char>(c)) != 0;
  });
  if (!number) convict(fmt::format("{}: 250 without an offset", name_));
  const std::uint64_t offset = std::stoull(last_word);
  promise.offset = static_cast<std::int64_t>(offset);
  promise.recipients = recipients_;
  promise.ip = asker_.ip;
  promise.tls = wire_ != nullptr;
  if (!promise.complete) convict(fmt::format("{}: 250 for half a message", name_));
  const auto [known, fresh] = ledger_.by_offset.emplace(offset, script_.mails[command.mail].mark);
  if (!fresh && ledger_.lied) {
    known->second = script_.mails[command.mail].mark;
  } else if (!fresh) {
    convict(fmt::format("{}: offset {} was given to {} already", name_, offset, known->second));
  }
}

std::string Client::describe() const {
  std::string acts;
  for (const Command& command : waiting_) acts += fmt::format(" {}", name(command.act));
  return fmt::format("group {} of {}, {} bytes sent, {} left, waits for the reply to:{}",
                     next_group_, script_.groups.size(), sent_, unsent_.size(), acts);
}

}  // namespace mxring::sim
