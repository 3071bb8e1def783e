// The parts of the server, for the files that implement it: server.cc starts and ends them,
// server_figures.cc says how they are.
#pragma once

#include <algorithm>
#include <array>
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
#include "seglog/log_home.h"
#include "seglog/writer.h"
#include "server/admin.h"
#include "server/block_list_check.h"
#include "server/certificates.h"
#include "server/commit_thread.h"
#include "server/config_change.h"
#include "server/confinement.h"
#include "server/connection_gate.h"
#include "server/cpu_layout.h"
#include "server/handed_over.h"
#include "server/journal.h"
#include "server/live.h"
#include "server/mail_desk.h"
#include "server/metrics.h"
#include "server/result_counters.h"
#include "server/retention_words.h"
#include "server/rules.h"
#include "server/scrub.h"
#include "server/server.h"
#include "server/shard.h"
#include "server/trace.h"

namespace mxring::server {

struct Server::Impl {
  Impl(const Config& given, std::function<void(const std::string&)> notice_function,
       Journal* the_journal, Confinement* the_confinement)
      : config(given),
        notice(std::move(notice_function)),
        journal(the_journal),
        confinement(the_confinement),
        gate(config.limits),
        log_folder(config.log.dir),
        reserve(config.limits, config.log.segment_bytes),
        resolver_health(config, notice),
        list_health(notice) {}

  std::expected<void, StartError> start(uring::FaultPlan* faults);
  std::expected<void, StartError> load_certificates();
  // What a reload can fail for; the metric says of which of them the last one did.
  enum ReloadPart { kOfConfiguration, kOfCertificates, kReloadParts };
  std::expected<std::string, std::string> reload(const Config& fresh);
  std::unexpected<std::string> refuse_reload(ReloadPart part, std::string why);
  std::expected<void, StartError> take_over_sockets();
  std::expected<net::Listener, net::ListenError> listener_of(
      base::Endpoint& endpoint, const std::vector<net::Listener>& handed, std::size_t index,
      bool first_shard);
  std::expected<void, StartError> listen();
  std::expected<void, StartError> listen_admin();
  seglog::WriterOptions log_options(uring::FaultPlan* faults) const;
  std::expected<void, StartError> confine(uring::FaultPlan* faults);
  std::expected<void, StartError> open_log(uring::FaultPlan* faults);
  std::expected<void, StartError> start_shards(uring::FaultPlan* faults);
  void start_watching();
  void start_admin();
  void count_dropped() const;
  std::string metrics() const;
  std::string status() const;
  void describe(base::JsonWriter& json) const;
  std::string why_not_accepting() const;
  void on_storage_failure(const std::string& why);
  void drain();
  int wait();

  Config config;
  std::function<void(const std::string&)> notice;
  Journal* journal;          // none: nobody writes lines
  Confinement* confinement;  // none: we stay as we are
  std::optional<RulesBoard> rules;
  Config configured;  // what was asked for, before it was fitted to this host
  std::mutex reload_mutex;
  std::array<std::atomic<bool>, kReloadParts> reload_failed{};
  ClientRates rates;
  ConnectionGate gate;
  LogFolder log_folder;
  DiskReserve reserve;
  ResolverHealth resolver_health;
  BlockListHealth list_health;
  obs::CounterRegistry counters{refusals_family()};
  obs::CounterSet& journal_counters = counters.make_set("journal");  // the admin thread's
  std::atomic<bool> draining{false};
  std::atomic<std::uint32_t> undrained{0};
  std::atomic<bool> storage_failed{false};
  std::unique_ptr<Certificates> certificates;  // none: no TLS at all
  std::unique_ptr<CommitThread> writer;
  std::vector<std::unique_ptr<Shard>> shards;
  CpuLayout layout;
  HandedOver handed_over;
  std::vector<ShardListeners> listeners;  // of each shard, until it takes them
  std::optional<Admin::Listening> admin_listening;
  std::string admin_endpoint;  // "" = off
  base::MonoTime started_at = base::read_clocks().mono;
  TraceBoard traces;
  std::unique_ptr<Scrub> scrub;
  std::unique_ptr<Live> live;
  std::atomic<MailDesk*> desk{nullptr};  // there is one once the pointer says so
  std::unique_ptr<MailDesk> desk_owner;
  std::unique_ptr<Admin> admin;
  std::vector<base::Endpoint> smtp_endpoints;
  std::vector<base::Endpoint> smtps_endpoints;
  bool waited = false;
};

}  // namespace mxring::server
