#include "server/server.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "obs/exposition.h"
#include "seglog/log_home.h"
#include "seglog/writer.h"
#include "server/admin.h"
#include "server/admin_pages.h"
#include "server/block_list_check.h"
#include "server/certificates.h"
#include "server/commit_thread.h"
#include "server/config_change.h"
#include "server/config_rules.h"
#include "server/confinement.h"
#include "server/connection_gate.h"
#include "server/cpu_layout.h"
#include "server/group_metrics.h"
#include "server/handed_over.h"
#include "server/journal.h"
#include "server/ledger.h"
#include "server/live.h"
#include "server/mail_desk.h"
#include "server/metrics.h"
#include "server/result_counters.h"
#include "server/retention_words.h"
#include "server/rules.h"
#include "server/scrub.h"
#include "server/server_impl.h"
#include "server/shard.h"
#include "server/trace.h"

namespace mxring::server {

namespace {

constexpr int kExitConfiguration = 78;
// With fewer connections than this the operator is told, whoever chose the number.
constexpr std::uint32_t kFewConnections = 5'000;

std::string host_name() {
  char buffer[256] = {};
  if (::gethostname(buffer, sizeof buffer - 1) != 0 || buffer[0] == '\0') return "localhost";
  return buffer;
}

// What the Host field may say beside addresses and localhost.
std::vector<std::string> admin_names(const Config& config) {
  std::vector<std::string> names = config.listen.admin_names;
  names.push_back(config.hostname);
  names.push_back(host_name());
  return names;
}

// Raises the descriptor limit to what the connections need. Where it does not go that far, fewer
// connections are taken: what clients use up is not there when the log needs its next file. Said
// when somebody has asked for more, or little is left.
void fit_connections(Config& config, const std::function<void(const std::string&)>& notice) {
  const std::size_t shards =
      lay_out_cpus(read_cpu_facts(), config.shards.count, config.shards.pin).shard_cpus.size();
  const std::uint64_t kept =
      base::descriptors_kept(shards, config.listen.smtp.size() + config.listen.smtps.size());
  const std::uint64_t wanted = config.limits.connections + kept;
  const base::DescriptorLimit limit = base::raise_descriptors(wanted);
  if (limit.now == 0 || limit.now >= wanted) return;
  const auto left = static_cast<std::uint32_t>(
      std::max<std::uint64_t>(limit.now - std::min(kept, limit.now / 2), 1));
  if (left < kFewConnections || config.set_at.contains("limits.connections")) {
    notice(
        fmt::format("warning: this process may open {} files: limits.connections is {} instead of "
                    "{}, so that the log always has the few it needs; raise the limit with "
                    "\"ulimit -Hn {}\" or LimitNOFILE= in the unit",
                    limit.now, left, config.limits.connections, wanted));
  }
  config.limits.connections = left;
  config.limits.connections_per_ip =
      std::min(config.limits.connections_per_ip, config.limits.connections);
}

}  // namespace

std::expected<void, StartError> Server::Impl::load_certificates() {
  if (!config.tls.starttls && config.listen.smtps.empty()) return {};
  auto loaded = Certificates::load(config, notice);
  if (!loaded) return std::unexpected(StartError{kExitConfiguration, loaded.error()});
  certificates = std::move(*loaded);
  return {};
}

std::unexpected<std::string> Server::Impl::refuse_reload(ReloadPart part, std::string why) {
  reload_failed[part].store(true, std::memory_order_relaxed);
  return std::unexpected(std::move(why));
}

// Whatever can fail comes before the first change.
std::expected<std::string, std::string> Server::Impl::reload(const Config& fresh) {
  const std::lock_guard lock(reload_mutex);
  if (draining.load(std::memory_order_relaxed)) return std::unexpected("draining: nothing is read");
  auto made = change_config(configured, fresh);
  if (!made) return refuse_reload(kOfConfiguration, made.error().message);
  ConfigChange& change = *made;
  change.config.policy_files = fresh.policy_files;
  if (const auto valid = validate(change.config); !valid) {
    return refuse_reload(kOfConfiguration,
                         fmt::format("with what cannot change while running ({}): {}",
                                     fmt::join(change.kept, ", "), valid.error().message));
  }
  if (certificates != nullptr) {
    if (const auto loaded = certificates->reload(change.config.tls); !loaded) {
      // Its message begins with the key.
      const std::string key = loaded.error().substr(0, loaded.error().find(':'));
      return refuse_reload(
          kOfCertificates,
          fmt::format("the certificates were not loaded again, the old ones stay in use: {}{}",
                      place_of(change.config, key), loaded.error()));
    }
  }
  for (auto& failed : reload_failed) failed.store(false, std::memory_order_relaxed);
  configured = change.config;
  Config& fitted = change.config;
  fitted.hostname = config.hostname;
  fitted.limits.connections = config.limits.connections;
  fitted.limits.connections_per_ip =
      std::min(fitted.limits.connections_per_ip, fitted.limits.connections);
  gate.change(fitted.limits);
  rules->replace(std::make_shared<const Rules>(fitted, certificates != nullptr));
  for (auto& shard : shards) shard->poke();
  std::string said = "configuration read again";
  if (certificates != nullptr) said += ", certificates loaded again";
  if (!change.changed.empty()) {
    said += fmt::format("; changed for the next connection: {}", fmt::join(change.changed, ", "));
  }
  if (!change.kept.empty()) {
    said += fmt::format("; as before until a restart: {}", fmt::join(change.kept, ", "));
  }
  return said;
}

// What systemd holds for us takes the place of what the configuration names.
std::expected<void, StartError> Server::Impl::take_over_sockets() {
  auto taken = take_handed_over();
  if (!taken) return std::unexpected(StartError{1, taken.error()});
  handed_over = *std::move(taken);
  struct Kind {
    const char* key;
    const std::vector<net::Listener>& sockets;
    std::vector<base::Endpoint>& endpoints;
  };
  for (const auto& [key, sockets, endpoints] :
       {Kind{"listen.smtp", handed_over.smtp, config.listen.smtp},
        Kind{"listen.smtps", handed_over.smtps, config.listen.smtps}}) {
    if (sockets.empty()) continue;
    std::vector<std::string> given;
    std::vector<std::string> configured_ones;
    for (const base::Endpoint& one : endpoints) configured_ones.push_back(one.to_string());
    endpoints.clear();
    for (const net::Listener& socket : sockets) {
      endpoints.push_back(socket.endpoint());
      given.push_back(socket.endpoint().to_string());
    }
    if (given == configured_ones) continue;
    notice(fmt::format("{}: listening on {} as handed over, not on {}", key, fmt::join(given, ", "),
                       fmt::join(configured_ones, ", ")));
  }
  if (handed_over.admin) {
    const std::string given = handed_over.admin->endpoint().to_string();
    if (given != config.listen.admin) {
      notice(fmt::format("listen.admin: listening on {} as handed over, not on \"{}\"", given,
                         base::escaped(config.listen.admin)));
    }
    config.listen.admin = given;
  }
  return {};
}

std::expected<net::Listener, net::ListenError> Server::Impl::listener_of(
    base::Endpoint& endpoint, const std::vector<net::Listener>& handed, std::size_t index,
    bool first_shard) {
  if (!handed.empty()) return handed[index].another();
  if (first_shard) {
    const auto unused = net::Listener::check_unused(endpoint);
    if (!unused) return std::unexpected(unused.error());
  }
  auto listener = net::Listener::open(endpoint);
  if (listener) endpoint = listener->endpoint();  // a port chosen by the kernel is the next shards'
  return listener;
}

// Before the log is made, so that a start that fails here leaves no files behind. Who connects
// before the log is open waits for the banner.
std::expected<void, StartError> Server::Impl::listen() {
  layout = lay_out_cpus(read_cpu_facts(), config.shards.count, config.shards.pin);
  smtp_endpoints = config.listen.smtp;
  smtps_endpoints = config.listen.smtps;
  for (std::size_t i = 0; i < layout.shard_cpus.size(); ++i) {
    ShardListeners& of_shard = listeners.emplace_back();
    of_shard.handed_over = !handed_over.smtp.empty() || !handed_over.smtps.empty();
    for (auto* endpoints : {&smtp_endpoints, &smtps_endpoints}) {
      const bool tls = endpoints == &smtps_endpoints;
      of_shard.implicit_tls_from = of_shard.all.size();
      for (std::size_t k = 0; k < endpoints->size(); ++k) {
        auto listener =
            listener_of((*endpoints)[k], tls ? handed_over.smtps : handed_over.smtp, k, i == 0);
        if (!listener) return std::unexpected(StartError{1, listener.error().message});
        of_shard.all.push_back(std::move(*listener));
      }
    }
  }
  return listen_admin();
}

std::expected<void, StartError> Server::Impl::listen_admin() {
  if (config.listen.admin.empty()) return {};
  if (handed_over.admin) {
    Admin::Listening given;
    given.tcp = std::move(*handed_over.admin);
    admin_listening = std::move(given);
  } else {
    auto listening = Admin::listen(config.listen.admin);
    if (!listening) return std::unexpected(StartError{1, listening.error() + " (listen.admin)"});
    admin_listening = std::move(*listening);
  }
  admin_endpoint = admin_listening->name();
  return {};
}

seglog::WriterOptions Server::Impl::log_options(uring::FaultPlan* faults) const {
  seglog::WriterOptions options;
  options.directory = config.log.dir;
  options.segment_bytes = config.log.segment_bytes;
  // A message plus its metadata, which a thousand recipients can make large.
  options.record_bytes_max = config.limits.message_bytes + 2 * base::kMiB;
  options.sync = config.log.sync == SyncMode::kCommit ? seglog::Sync::kCommit : seglog::Sync::kNone;
  options.retain_bytes = config.log.retain_bytes;
  options.retain_age_ns = config.log.retain_age_ns;
  options.hold_bytes = config.groups.hold_bytes;
  options.drop_when_hold_full = config.groups.on_hold_full == HoldFull::kDrop;
  options.reserve_bytes = config.log.segment_bytes * config.limits.disk_reserve_segments;
  options.reserve_percent = config.limits.disk_reserve_percent;
  options.faults = faults;
  return options;
}

// The last moment as root, and the last with one thread.
std::expected<void, StartError> Server::Impl::confine(uring::FaultPlan* faults) {
  if (confinement == nullptr) return {};
  const bool there = ::access(config.log.dir.c_str(), F_OK) == 0;
  if (auto made = seglog::make_home(log_options(faults)); !made) {
    return std::unexpected(StartError{1, made.error().message});
  }
  if (!there) confinement->give(config.log.dir);
  if (admin_listening && admin_listening->local) {
    confinement->give(admin_listening->local->path());
  }
  if (auto confined = confinement->before_log(); !confined) {
    return std::unexpected(StartError{1, confined.error()});
  }
  return {};
}

std::expected<void, StartError> Server::Impl::open_log(uring::FaultPlan* faults) {
  auto log = seglog::Writer::open(log_options(faults));
  if (!log) return std::unexpected(StartError{1, log.error().message});
  if (!log->recovery().text.empty()) notice(log->recovery().text);
  writer = std::make_unique<CommitThread>(CommitThread::Setup{
      .writer = std::move(*log),
      .commit_window_ns = config.log.commit_window_ns,
      .reserve = reserve,
      .counters = &counters.make_set("writer"),
      .on_failure = [this](const std::string& why) { on_storage_failure(why); },
      .notice = notice,
      .on_room =
          [this](bool low, const DiskRoom& room) {
            notice(low ? "warning: " + reserve.why_low(config.log.dir, room)
                       : DiskReserve::there_is_room(config.log.dir, room));
          },
      .on_removed =
          [this](const seglog::Removal& removal) {
            const std::string text = removed(config.log.dir, removal,
                                             {config.log.retain_bytes, config.log.retain_age_ns});
            journal != nullptr && journal->on() ? journal->say_removed(text) : notice(text);
          }});
  return {};
}

std::expected<void, StartError> Server::Impl::start_shards(uring::FaultPlan* faults) {
  rules.emplace(std::make_shared<const Rules>(config, certificates != nullptr));
  for (std::size_t i = 0; i < layout.shard_cpus.size(); ++i) {
    shards.push_back(std::make_unique<Shard>(
        ShardShared{config, *rules, rates, gate, *writer, draining, undrained, notice, faults,
                    certificates.get(), resolver_health, list_health, journal, &traces},
        static_cast<std::uint32_t>(i), layout.shard_cpus[i], std::move(listeners[i]),
        counters.make_set(fmt::format("shard-{}", i))));
    writer->add_lane(&shards.back()->lane());
  }
  listeners.clear();
  writer->start(layout.writer_cpu);
  for (auto& shard : shards) {
    if (auto started = shard->start(); !started) {
      return std::unexpected(StartError{1, started.error()});
    }
  }
  return {};
}

void Server::Impl::start_watching() {
  if (journal != nullptr) traces.set_run(journal->run());
  scrub = std::make_unique<Scrub>(Scrub::Setup{config.log.dir, config.log.scrub_rate, notice});
  scrub->start();
  std::vector<const obs::Histogram*> decided;
  for (const auto& shard : shards) decided.push_back(&shard->accept_to_durable_ns());
  live = std::make_unique<Live>(
      Live::Setup{.counters = counters,
                  .sync_ns = writer->commit_ns(),
                  .decided_ns = std::move(decided),
                  .log = config.log.dir,
                  .gauges =
                      [this] {
                        return Live::Gauges{gate.all(), writer->room().free_bytes,
                                            counters.sum(obs::Counter::kMemoryInFlight)};
                      },
                  .members = [this](base::JsonWriter& json) { describe(json); },
                  .notice = notice});
  live->start();
}

void Server::Impl::start_admin() {
  if (!admin_listening) return;
  admin = std::make_unique<Admin>(
      std::move(*admin_listening),
      [pages = AdminPages{.metrics = [this] { return metrics(); },
                          .status = [this] { return status(); },
                          .why_not_accepting = [this] { return why_not_accepting(); },
                          .live = [this] { return live->document(); },
                          .history = [this] { return live->history(); },
                          .mail = [this](const AdminRequest& request) -> AdminAnswer {
                            MailDesk* const there = desk.load(std::memory_order_acquire);
                            if (there != nullptr) return there->ask(request.path, request.query);
                            return {.status = "503 Service Unavailable", .body = "not yet\n"};
                          },
                          .names = admin_names(config),
                          .token_file = config.listen.admin_token_file}](
          const AdminRequest& request) { return pages.answer(request); });
}

std::expected<void, StartError> Server::Impl::start(uring::FaultPlan* faults) {
  if (config.hostname.empty()) config.hostname = host_name();
  if (auto taken = take_over_sockets(); !taken) return taken;
  if (auto loaded = load_certificates(); !loaded) return loaded;
  if (auto listening = listen(); !listening) return listening;
  if (auto confined = confine(faults); !confined) return confined;
  if (journal != nullptr) journal->start();
  if (auto opened = open_log(faults); !opened) return opened;
  if (auto started = start_shards(faults); !started) return started;
  start_watching();
  start_admin();
  return {};
}

// "" while mail is accepted.
std::string Server::Impl::why_not_accepting() const {
  if (storage_failed.load(std::memory_order_relaxed)) return "the log has failed";
  if (draining.load(std::memory_order_relaxed)) return "draining";
  const DiskRoom room = writer->room();
  return reserve.low(room) ? reserve.why_low(config.log.dir, room) : std::string();
}

void Server::Impl::on_storage_failure(const std::string& why) {
  storage_failed.store(true, std::memory_order_relaxed);
  notice(
      fmt::format("fatal: {}; everything answered 250 is durable, nothing else was accepted; "
                  "look at the disk (dmesg), then start again",
                  why));
  drain();
}

void Server::Impl::drain() {
  draining.store(true, std::memory_order_relaxed);
  for (auto& shard : shards) shard->poke();
}

int Server::Impl::wait() {
  if (!waited) {
    waited = true;
    for (auto& shard : shards) shard->join();
    MXRING_ASSERT(shards.empty() || gate.all() == 0);  // each connection has given its place back
    if (writer) writer->stop();
    admin.reset();
    desk.store(nullptr, std::memory_order_relaxed);
    desk_owner.reset();
    live.reset();
    scrub.reset();
  }
  return storage_failed.load(std::memory_order_relaxed) ? 1 : 0;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
  impl_->drain();
  impl_->wait();
}

std::expected<std::unique_ptr<Server>, StartError> Server::start(
    const Config& config, std::function<void(const std::string&)> notice, uring::FaultPlan* faults,
    Journal* journal, Confinement* confinement, const LastStep& last_step) {
  Config fitting = config;
  fit_connections(fitting, notice);
  std::unique_ptr<Server> server(
      new Server(std::make_unique<Impl>(fitting, std::move(notice), journal, confinement)));
  server->impl_->configured = config;
  if (auto started = server->impl_->start(faults); !started) {
    return std::unexpected(started.error());
  }
  if (last_step) {
    if (auto done = last_step(*server); !done) return std::unexpected(done.error());
  }
  if (confinement != nullptr) confinement->after_start();
  return server;
}

const std::vector<base::Endpoint>& Server::smtp_endpoints() const {
  return impl_->smtp_endpoints;
}

const std::vector<base::Endpoint>& Server::smtps_endpoints() const {
  return impl_->smtps_endpoints;
}

std::expected<std::string, std::string> Server::reload(const Config& fresh) {
  return impl_->reload(fresh);
}

void Server::reload_refused() {
  impl_->reload_failed[Impl::kOfConfiguration].store(true, std::memory_order_relaxed);
}

std::string Server::status() const {
  return impl_->status();
}

std::string Server::live() const {
  return impl_->live->document();
}

TraceBoard& Server::traces() {
  return impl_->traces;
}

void Server::answer_mail_with(MailAnswer answer) {
  MXRING_ASSERT(impl_->desk_owner == nullptr);
  impl_->desk_owner = std::make_unique<MailDesk>(std::move(answer));
  // Pairs with the acquire of the administration's thread.
  impl_->desk.store(impl_->desk_owner.get(), std::memory_order_release);
}

std::string Server::admin_endpoint() const {
  return impl_->admin_endpoint;
}

std::uint32_t Server::shards() const {
  return static_cast<std::uint32_t>(impl_->shards.size());
}
std::string Server::ledger() const {
  return ledger_table(make_ledger(impl_->counters, process_cpu_ns()));
}
const obs::CounterRegistry& Server::counters() const {
  return impl_->counters;
}

std::vector<Pulse> Server::pulses() const {
  std::vector<Pulse> all;
  for (std::size_t i = 0; i < impl_->shards.size(); ++i) {
    const Shard& shard = *impl_->shards[i];
    all.push_back({fmt::format("shard-{}", i), shard.progress(), 0, shard.ended()});
  }
  const CommitThread& writer = *impl_->writer;
  all.push_back({"writer", writer.progress(), writer.committing_since_ns(), writer.ended()});
  return all;
}

void Server::poke() {
  for (auto& shard : impl_->shards) shard->poke();
  impl_->writer->wake();
}

void Server::begin_drain() {
  impl_->drain();
}
int Server::wait() {
  return impl_->wait();
}

}  // namespace mxring::server
