#include "tests/sim/life.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/random.h"
#include "server/policy_files.h"
#include "tests/sim/judge_counters.h"
#include "tests/sim/persons.h"
#include "tests/sim/points.h"
#include "tests/sim/signer.h"
#include "uring/fault.h"

namespace mxring::sim {

namespace {

constexpr std::uint16_t kPort = 25;
constexpr std::uint16_t kTlsPort = 465;
const char* const kLogFolder = "/sim/log";
const char* const kRecipientsFile = "/sim/etc/recipients";
const char* const kAccessFile = "/sim/etc/access";
constexpr Ns kBootTime = 120 * kSecond;
constexpr Ns kLivenessBound = 4000 * kSecond;  // of virtual time: longer than any limit

base::Endpoint endpoint(const char* text) {
  return *base::Endpoint::parse(text);
}

}  // namespace

struct Life::Receiver {
  int process = 0;
  Fiber* owner = nullptr;
  uring::FaultPlan faults;
  std::unique_ptr<server::Server> server;
  std::string start_error;
  bool started = false;
  int operators = 0;   // that speak to it
  bool ended = false;  // it returned
  bool killed = false;
  int exit_code = -1;
};

Life::Life(const LifeOptions& options)
    : options_(options),
      world_(options.seed),
      dice_(world_.dice().fork()),
      resolver_(world_),
      policy_(world_, dice_.next()) {
  world_.set_readable(options.readable);
  base::seed_random(options.seed);
  wake_points(world_, options.seed);
}

bool Life::wants(FaultKind kind, std::uint64_t chance) {
  const bool drawn = dice_.permille(chance);
  if (drawn && (options_.faults & kind) != 0) active_ |= kind;
  return (active_ & kind) != 0;
}

void Life::draw() {
  config_ = server::default_config();
  config_.hostname = "mx.test";
  config_.listen.smtp = {endpoint("192.0.2.250:25")};
  config_.listen.smtps.clear();
  config_.listen.admin.clear();
  config_.journal.to.clear();
  config_.shards.count = dice_.permille(300) ? 2 : 1;
  config_.shards.pin = false;
  config_.tls.starttls = dice_.permille(300);
  if (config_.tls.starttls) config_.listen.smtps = {endpoint("192.0.2.250:465")};
  config_.log.dir = kLogFolder;
  config_.dns.servers = {endpoint("192.0.2.53:53")};
  if (dice_.permille(300)) config_.dns.servers.push_back(endpoint("192.0.2.54:53"));
  config_.dns.timeout_ns = dice_.between(500, 5000) * kMs;

  base::Limits& limits = config_.limits;
  limits.message_bytes = dice_.permille(700) ? 128 * 1024 : 1024 * 1024;
  limits.header_bytes = 32 * 1024;
  limits.message_line_bytes = 64 * 1024;
  limits.memory_bytes = limits.message_bytes * static_cast<std::uint64_t>(dice_.between(6, 30));
  limits.connections = 1000;
  limits.dns_cache_bytes = dice_.permille(200) ? 64 * 1024 : 4 << 20;
  limits.disk_reserve_segments = 1;
  config_.shards.buffer_bytes = dice_.pick<std::uint32_t>({4096, 8192, 16384});
  config_.shards.buffers_offered = dice_.pick<std::uint32_t>({8, 16, 64});
  config_.log.segment_bytes = limits.message_bytes + 2 * base::kMiB;
  config_.log.commit_window_ns = dice_.permille(300) ? dice_.between(100, 5000) * kUs : 0;
  config_.auth.spf = config_.auth.dkim = config_.auth.dmarc = !dice_.permille(100);

  config_.listen.proxy = {*base::IpNetwork::parse("198.51.100.0/24")};
  config_.listen.xclient = {*base::IpNetwork::parse("203.0.113.0/24")};
  policy_.draw(config_, resolver_);
  draw_shortage();
  ledger_.policy = &policy_;
  ledger_.limits = limits;

  wants(kPowerCuts, 350);
  wants(kKills, 200);
  wants(kDiskErrors, 120);
  wants(kFullDisk, 80);
  wants(kSlowDisk, 300);
  wants(kDnsFaults, 300);
  wants(kClockJumps, 150);
  wants(kEngineFaults, 400);
  wants(kOperator, 200);
  wants(kRudeClients, 700);
  wants(kLyingDisk, 80);
  ledger_.lied = lied();
  draw_readers();
  ledger_.log_may_fail = (active_ & (kDiskErrors | kFullDisk | kLyingDisk)) != 0;
}

// In some lives something is scarce: places for connections, questions, or memory for a crowd of
// large messages.
void Life::draw_shortage() {
  base::Limits& limits = config_.limits;
  if (dice_.permille(150)) {
    limits.connections = static_cast<std::uint32_t>(dice_.between(4, 12));
    limits.connections_per_ip = static_cast<std::uint32_t>(dice_.between(1, 4));
  }
  if (dice_.permille(150)) {
    limits.dns_outstanding_per_ip = static_cast<std::uint32_t>(dice_.between(16, 24));
  }
  crowd_ = dice_.permille(120);
  if (!crowd_) return;
  limits.message_bytes = 128 * 1024;
  limits.memory_bytes = 3 * limits.message_bytes;
  config_.shards.count = 1;
}

// Programs that read along, and how much the log keeps for them.
void Life::draw_readers() {
  if (!dice_.permille(350)) return;
  for (std::uint64_t i = 0; i <= dice_.below(2); ++i) {
    readers_.push_back(std::make_unique<Reader>(world_, ledger_, fmt::format("group{}", i),
                                                static_cast<int>(1000 + i)));
  }
  if (dice_.permille(300)) {
    config_.log.retain_bytes = config_.log.segment_bytes;
    ledger_.removes = true;
  } else if (dice_.permille(200)) {
    config_.log.retain_age_ns = dice_.between(60, 7200) * kSecond;
    ledger_.removes = true;
  }
}

// With nobody in the way each group gets all there is, within a bound of time.
void Life::read_to_the_end() {
  for (const auto& reader : readers_) {
    reader->kill(false);
    reader->start(kLogFolder, true);
  }
  const auto done = [this] {
    return std::ranges::all_of(readers_, [](const auto& each) { return each->reached_the_end(); });
  };
  if (world_.run(done, world_.now() + kBootTime) || lied()) return;
  for (const auto& reader : readers_) {
    if (!reader->reached_the_end()) convict("does not reach the end: " + reader->describe());
  }
}

void Life::say_configuration() const {
  world_.current()->trace(fmt::format(
      "seed {}: shards {} message {} memory {} buffers {} x{} segment {} window {} auth {} dns "
      "servers {} faults {:b}",
      options_.seed, config_.shards.count, config_.limits.message_bytes,
      config_.limits.memory_bytes, config_.shards.buffer_bytes, config_.shards.buffers_offered,
      config_.log.segment_bytes, config_.log.commit_window_ns, config_.auth.dmarc,
      config_.dns.servers.size(), active_));
}

void Life::fill_resolver() {
  if (config_.auth.dmarc) Signer::publish(resolver_);
  if (policy_.active()) world_.trace("policy: " + policy_.describe());
  resolver_.add_address("none.example", std::string("\xC0\0\2\1", 4));
  resolver_.add_text("pass.example",
                     "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ip4:203.0.113.0/24 "
                     "ip6:2001:db8::/32 -all");
  resolver_.add_text("_dmarc.pass.example", "v=DMARC1; p=reject");
  resolver_.add_text("reject.example", "v=spf1 -all");
  resolver_.add_text("_dmarc.reject.example", "v=DMARC1; p=reject");
  resolver_.add_text("quarantine.example", "v=spf1 -all");
  resolver_.add_text("_dmarc.quarantine.example", "v=DMARC1; p=quarantine");
}

EngineMood Life::mood() const {
  EngineMood mood;
  if (!troubled_) {
    mood.receive_fails = mood.send_fails = mood.accept_fails = 0;
  } else if ((active_ & kEngineFaults) != 0) {
    mood.accept_fails = 20;
    mood.receive_fails = 5;
    mood.send_fails = 5;
    mood.late = 300;
    mood.late_max = 50 * kMs;
    mood.no_buffers = 80;
    mood.completions_max = 2;
  }
  return mood;
}

void Life::boot() {
  auto made = std::make_unique<Receiver>();
  receiver_ = made.get();
  receivers_.push_back(std::move(made));
  receiver_->process = static_cast<int>(receivers_.size());
  receiver_->faults.make_engine = [this] { return std::make_unique<SimEngine>(world_, mood()); };
  world_.trace(fmt::format("process {} starts", receiver_->process));
  ledger_.drain_began = -1;
  ledger_.refusals_heard = 0;
  ledger_.promised_before = ledger_.by_offset.size();
  policy_.begin_anew();
  if (backup_ != nullptr && dice_.permille(400)) {
    world_.trace("disk: an older copy is put back");
    world_.disk().put_back(std::exchange(backup_, nullptr));
  }
  write_policy(false);
  Receiver& receiver = *receiver_;
  receiver.owner = world_.spawn("owner", receiver.process, [this, &receiver] { own(receiver); });
}

void Life::write_policy(bool broken) {
  const PolicyText& text = policy_.written();
  const std::string mistake = "nonsense here\n";
  world_.disk().put(kRecipientsFile, text.recipients_file() + (broken ? mistake : ""));
  world_.disk().put(kAccessFile, text.access_file() + (broken ? mistake : ""));
}

server::ConfigDraft Life::configured() const {
  server::ConfigDraft draft{config_, {}};
  const PolicyText& text = policy_.written();
  draft.config.recipients.domains = text.domains;
  if (text.has_recipients) draft.config.recipients.file = kRecipientsFile;
  if (!text.rules.empty()) draft.config.access.file = kAccessFile;
  server::read_policy_files(draft);
  return draft;
}

// The main thread of the receiver.
void Life::own(Receiver& receiver) {
  const server::ConfigDraft draft = configured();
  if (!draft.mistakes.empty()) convict("good files have mistakes: " + draft.mistakes[0].text);
  auto started = server::Server::start(
      draft.config, [this](const std::string& line) { world_.trace("notice: " + line); },
      &receiver.faults);
  if (!started) {
    receiver.start_error = started.error().message;
    world_.trace("does not start: " + receiver.start_error);
  } else {
    receiver.server = std::move(*started);
    receiver.started = true;
    world_.trace("ready");
    receiver.exit_code = receiver.server->wait();
    if (receiver.exit_code == 0) judge_counters(*receiver.server, ledger_, in_peace_);
    while (receiver.operators > 0) world_.wait_on(&receiver, world_.now() + kMs);
    receiver.server.reset();
    world_.trace(fmt::format("exits {}", receiver.exit_code));
  }
  receiver.ended = true;
  on_process_end(receiver, "exits");
}

void Life::on_process_end(Receiver& receiver, const char* how) {
  if (!receiver.killed) {
    const std::string open = world_.net().open_in(receiver.process);
    if (!open.empty()) {
      convict(fmt::format("process {} {} and leaves open: {}", receiver.process, how, open));
    }
  }
  if (receiver_ == &receiver) receiver_ = nullptr;
  if (!troubled_) return;
  world_.after(dice_.between(10 * kMs, 5 * kSecond), [this] {
    if (receiver_ == nullptr && troubled_) {
      ++report_.restarts;
      boot();
    }
  });
}

void Life::power_cut() {
  if (receiver_ == nullptr) return;
  Receiver& receiver = *receiver_;
  receiver.killed = true;
  Disk::Plan& plan = world_.disk().plan;
  const Disk::Plan lies = plan;
  plan = {};
  plan.forgets_permille = lies.forgets_permille;
  plan.misplaces_permille = lies.misplaces_permille;
  world_.kill(receiver.process);
  world_.net().close_all_of(receiver.process, true);
  for (const auto& reader : readers_) reader->kill(true);
  world_.disk().lose_power();
  on_process_end(receiver, "loses power");
}

void Life::kill_receiver() {
  if (receiver_ == nullptr) return;
  Receiver& receiver = *receiver_;
  world_.trace("kill -9");
  receiver.killed = true;
  world_.kill(receiver.process);
  world_.net().close_all_of(receiver.process, false);
  world_.disk().forget_processes();
  on_process_end(receiver, "is killed");
}

void Life::plan_faults() {
  Disk& disk = world_.disk();
  disk.on_power_cut = [this] {
    if (receiver_ == nullptr) return;  // the call of a reader
    power_cut();
    World::leave();
  };
  const auto later = [this](std::function<void()> what) {
    world_.at(world_.now() + dice_.between(0, trouble_ends_ - world_.now()),
              [this, what = std::move(what)] {
                if (troubled_) what();
              });
  };
  if ((active_ & kPowerCuts) != 0) {
    for (std::uint64_t i = 1 + dice_.below(3); i > 0; --i) {
      later([this] { world_.disk().plan.power_cut_at = world_.disk().calls + dice_.skewed(60); });
    }
    if (dice_.permille(300)) disk.plan.power_cut_at = dice_.below(60);  // while it starts
  }
  if ((active_ & kKills) != 0) later([this] { kill_receiver(); });
  if ((active_ & kDiskErrors) != 0) {
    later([this] {
      Disk::Plan& plan = world_.disk().plan;
      plan.error_at = world_.disk().calls + dice_.skewed(40);
      plan.error = dice_.pick({EIO, EIO, ENOSPC, EMFILE, ENOMEM});
      plan.error_stays = dice_.permille(300);
    });
  }
  if ((active_ & kFullDisk) != 0) {
    later([this] {
      world_.disk().capacity = world_.disk().used() + dice_.skewed(config_.log.segment_bytes);
    });
  }
  for (const auto& reader : readers_) {
    later([this, &reader] { reader->start(kLogFolder, false); });
    for (int i = 0; i < 3; ++i) {
      later([this, &reader] {
        reader->running() ? reader->kill(false) : reader->start(kLogFolder, false);
      });
    }
  }
  if ((active_ & kSlowDisk) != 0) {
    disk.plan.sync_ns = dice_.between(1, 200) * kMs;
    disk.plan.slow_sync_permille = dice_.pick<std::uint64_t>({0, 0, 20, 200});
  }
  if (lied()) {
    if (dice_.permille(600)) disk.plan.forgets_permille = dice_.below(400);
    if (dice_.permille(600)) disk.plan.misplaces_permille = dice_.below(200);
    if (dice_.permille(400)) later([this] { backup_ = world_.disk().copy(); });
    later([this] { dice_.permille(500) ? power_cut() : kill_receiver(); });
  }
  if ((active_ & kDnsFaults) != 0) {
    const auto chance = [this] { return dice_.permille(400) ? dice_.below(300) : 0; };
    ResolverMood& dns = resolver_.mood;
    dns = {chance(),
           chance(),
           chance(),
           chance(),
           chance(),
           chance(),
           chance(),
           chance(),
           chance(),
           chance(),
           dice_.between(1, 3000) * kMs,
           chance()};
    if (dice_.permille(100)) dns.silent = 1000;
  }
  if ((active_ & kClockJumps) != 0) {
    for (int i = 0; i < 3; ++i) {
      later([this] { world_.jump_wall(dice_.between(-10'000, 10'000) * 1'000'000); });
    }
  }
  if ((active_ & kOperator) != 0) {
    for (int i = 0; i < 3; ++i) later([this] { operate(); });
  }
}

// An operator who does not know what is going on.
void Life::operate() {
  if (receiver_ == nullptr || !receiver_->started) return;
  Receiver& receiver = *receiver_;
  const bool drains = dice_.permille(400);
  world_.spawn("operator", receiver.process, [this, &receiver, drains] {
    if (receiver.server == nullptr) return;
    ++receiver.operators;
    if (drains) {
      world_.trace("operator: drain");
      if (ledger_.drain_began < 0) ledger_.drain_began = world_.now();
      receiver.server->begin_drain();
    } else {
      rewrite_policy(receiver);
      world_.trace(fmt::format("operator: status of {} bytes", receiver.server->status().size()));
    }
    --receiver.operators;
  });
}

// A file with a mistake changes nothing; a good one holds for who comes from then on.
void Life::rewrite_policy(Receiver& receiver) {
  if (dice_.permille(250)) {
    write_policy(true);
    const server::ConfigDraft draft = configured();
    const bool noticed = !draft.mistakes.empty() ||
                         (draft.config.recipients.file.empty() && draft.config.access.file.empty());
    write_policy(false);
    if (!noticed) convict("a broken file is taken for a good one");
    return;
  }
  if (policy_.active()) policy_.write_anew();
  if (policy_.active()) world_.trace("policy: " + policy_.describe());
  write_policy(false);
  server::ConfigDraft draft = configured();
  draft.config.limits.command_wait_ns = (100 + static_cast<Ns>(dice_.below(200))) * kSecond;
  const auto said = receiver.server->reload(draft.config);
  world_.trace("operator: reload, " + (said ? *said : said.error()));
  if (said && policy_.active()) policy_.took_force();
}

Person Life::draw_person(std::uint64_t client) {
  Person person = sim::draw_person(dice_, client);
  person.process = receiver_ == nullptr ? 0 : receiver_->process;
  return person;
}

void Life::start_client(std::uint64_t number, bool calm) {
  ++clients_begun_;
  const bool rude = !calm && (active_ & kRudeClients) != 0 && dice_.permille(500);
  Wishes wishes;
  wishes.life = options_.seed;
  wishes.client = number;
  wishes.message_bytes_max = config_.limits.message_bytes;
  wishes.orderly = dice_.permille(300);
  wishes.verdicts = config_.auth.dmarc;
  Manners manners;
  Tolerance tolerance;
  tolerance.faults = !calm;
  tolerance.dns = !calm || (active_ & kDnsFaults) != 0;
  if (dice_.permille(500)) manners.pieces = Manners::Pieces::kRandom;
  if (rude) {
    wishes.body_bytes_max = crowd_ ? wishes.message_bytes_max * 9 / 10 : 4000;
    tolerance.slow = true;
    if (dice_.permille(200)) manners.pieces = Manners::Pieces::kBytes;
    manners.pause_max = dice_.pick<Ns>({kMs, kSecond, 20 * kSecond});
    manners.reads = !dice_.permille(150);
    if (dice_.permille(200)) manners.read_pause_max = 5 * kSecond;
    if (dice_.permille(500)) manners.gives_up_after = dice_.skewed(3000);
    manners.end = dice_.pick({Manners::End::kClose, Manners::End::kReset, Manners::End::kSilence,
                              Manners::End::kHalfClose});
    manners.waits_for_banner = !dice_.permille(100);
  }
  if (manners.pieces == Manners::Pieces::kBytes) {
    wishes.body_bytes_max = 300;
    wishes.orderly = true;
    wishes.messages_max = 1;
  }
  Person person = draw_person(number);
  if (config_.tls.starttls) {
    person.implicit_tls = !person.refused && dice_.permille(300);
    person.tls_12 = dice_.permille(300);
    wishes.starttls = !person.implicit_tls;
    wishes.encrypted = person.implicit_tls;
  }
  // Where the memory is for three messages, the largest of a crowd may have to go.
  tolerance.faults |= crowd_;
  wishes.policy = &policy_;
  wishes.believed = person.proxy;
  wishes.guesses = !calm && policy_.active() && dice_.permille(60);
  if (person.refused) tolerance.slow = true;
  const auto client = std::make_shared<Client>(
      world_, ledger_, fmt::format("{}client {}", calm ? "calm " : "", number),
      make_script(dice_, wishes), manners, tolerance);
  if (!client->connect(person.implicit_tls ? kTlsPort : kPort, person)) {
    if (calm) convict("nobody listens, although all is calm");
    return;
  }
  ++report_.connections;
  clients_.push_back(client);
}

void Life::plan_clients(Ns from, Ns until, std::uint64_t count, bool calm) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t number = clients_planned_++;
    world_.at(dice_.between(from, until), [this, number, calm] { start_client(number, calm); });
  }
}

bool Life::clients_over() const {
  return clients_begun_ == clients_planned_ &&
         std::ranges::all_of(clients_, [](const auto& client) { return client->over(); });
}

// Faults stop, and what they have done is repaired.
void Life::calm_down() {
  troubled_ = false;
  rest_points();
  world_.trace("all is calm");
  world_.disk().plan = {};
  world_.disk().capacity = 1ULL << 30;
  resolver_.mood = {};
  if (!world_.run([this] { return clients_over(); }, world_.now() + kLivenessBound)) {
    std::string who;
    for (const auto& client : clients_) {
      if (!client->over()) who += "; " + client->describe();
    }
    convict("connections do not end, although all is calm" + who);
  }
  // A receiver whose log has failed, or whose operator drains it, ends by itself.
  if (receiver_ != nullptr && receiver_->ended) receiver_ = nullptr;
}

void Life::drain_and_end() {
  if (receiver_ == nullptr) return;
  Receiver& receiver = *receiver_;
  if (!world_.run([&] { return receiver.started || receiver.ended; }, world_.now() + kBootTime)) {
    convict("the receiver does not start");
  }
  world_.spawn("operator", receiver.process, [&receiver] {
    if (receiver.server != nullptr) receiver.server->begin_drain();
  });
  if (!world_.run([&] { return receiver.ended; }, world_.now() + kLivenessBound)) {
    convict("the receiver does not drain");
  }
}

void Life::judge_record(const JudgedRecord& record) {
  if (record.disposition == "reject" || record.disposition == "tempfail") {
    if (!record.message.empty()) convict("a refused message is in the log");
    if (ledger_.by_offset.contains(record.offset) && !lied()) {
      convict(fmt::format("offset {} was promised and belongs to refused mail", record.offset));
    }
    return;
  }
  const std::size_t at = record.mail_from.find('@');
  const auto found = ledger_.mails.find(record.mail_from.substr(0, at));
  if (found == ledger_.mails.end()) {
    convict(fmt::format("record {} is of nobody: from {}", record.offset, record.mail_from));
  }
  Promise& promise = found->second;
  if (record.message != promise.content) {
    convict(fmt::format("record {} is not what {} sent: {} bytes of {}", record.offset,
                        found->first, record.message.size(), promise.content.size()));
  }
  if (!promise.complete) convict(fmt::format("record {} was never sent whole", record.offset));
  if (promise.in_log) convict(fmt::format("{} is in the log twice", found->first));
  promise.in_log = true;
  if (!promise.refused.empty() && (promise.refused[0] == '5' || !promise.faults)) {
    convict(fmt::format("record {} was refused with {}", record.offset, promise.refused));
  }
  if (record.client_ip != promise.ip) {
    convict(fmt::format("record {} came from {} and not from {}", record.offset, promise.ip,
                        record.client_ip));
  }
  if (record.tls != promise.tls) {
    convict(fmt::format("record {} says{} TLS", record.offset, record.tls ? "" : " nothing of"));
  }
  if (promise.offset >= 0) {
    if (static_cast<std::uint64_t>(promise.offset) != record.offset) {
      convict(fmt::format("{} was promised at {} and is at {}", found->first, promise.offset,
                          record.offset));
    }
    if (record.recipients != promise.recipients) convict("recipients differ in the log");
  }
  const bool mild = promise.dns && record.disposition == "quarantine";
  const bool right = promise.fate == Fate::kQuarantine ? record.disposition == "quarantine"
                                                       : record.disposition == "accept" || mild;
  // Without answers from DNS there is no policy to follow, and mail is taken with a temperror.
  const bool unknown = promise.dns && record.disposition == "accept";
  if (promise.fate == Fate::kReject ? !mild && !unknown : !right && !unknown) {
    convict(fmt::format("record {} ({}) has disposition {}", record.offset, name(promise.fate),
                        record.disposition));
  }
}

void Life::judge_log() {
  const JudgedLog log = read_log(world_.disk(), kLogFolder);
  if (!log.trouble.empty() && !lied()) convict("the log: " + log.trouble);
  for (const JudgedRecord& record : log.records) judge_record(record);
  for (const auto& reader : readers_) reader->judge(log);
  for (const auto& [offset, mark] : ledger_.by_offset) {
    // What a disk has lost of its own is nobody's promise; nor what retention has removed.
    if (ledger_.removes && offset < log.first) continue;
    if (!ledger_.mails.at(mark).in_log && !lied()) {
      convict(
          fmt::format("{} was answered 250 with offset {} and is not in the log", mark, offset));
    }
  }
  report_.accepted = ledger_.by_offset.size();
}

LifeReport Life::run() {
  const Ns begun = world_.now();
  draw();
  say_configuration();
  fill_resolver();
  trouble_ends_ = begun + dice_.between(5, 200) * kSecond;
  boot();
  plan_faults();
  const std::uint64_t wanted = crowd_ ? 8 + dice_.below(17) : 1 + dice_.skewed(16);
  const std::uint64_t count = std::min(wanted, options_.clients_max);
  plan_clients(begun + kSecond, trouble_ends_, count, false);
  world_.run([this] { return world_.now() >= trouble_ends_; }, trouble_ends_);
  calm_down();
  // A new start, which recovers whatever was left, and mail in peace.
  drain_and_end();
  world_.run([] { return false; }, world_.now() + 40 * kSecond);  // what was sent late arrives
  in_peace_ = true;
  boot();
  Receiver& last = *receiver_;
  const bool ready =
      world_.run([&] { return last.started || last.ended; }, world_.now() + kBootTime) &&
      last.started;
  // It may refuse what it cannot read, with a word.
  if (!ready && lied() && !last.start_error.empty()) {
    judge_log();
    return finish(begun);
  }
  if (!ready) {
    convict("the receiver does not start, although all is calm: " + last.start_error);
  }
  plan_clients(world_.now(), world_.now() + 10 * kSecond, 1 + dice_.below(3), true);
  calm_down();
  world_.run([] { return false; }, world_.now() + 5 * kSecond);  // nobody is being told to go
  read_to_the_end();
  drain_and_end();
  if (last.exit_code != 0) convict(fmt::format("the receiver exits {}", last.exit_code));
  judge_log();
  return finish(begun);
}

LifeReport Life::finish(Ns begun) {
  report_.hash = world_.trace_hash();
  report_.simulated = world_.now() - begun;
  return report_;
}

}  // namespace mxring::sim
