// What the running server says of itself: /metrics, /status and the live document.
#include <fmt/format.h>
#include <unistd.h>

#include "base/json.h"
#include "base/units.h"
#include "obs/exposition.h"
#include "server/group_metrics.h"
#include "server/ledger.h"
#include "server/metrics.h"
#include "server/server_impl.h"

namespace mxring::server {

void Server::Impl::count_dropped() const {
  if (journal != nullptr) journal_counters.set(obs::Counter::kJournalDropped, journal->dropped());
}

std::string Server::Impl::metrics() const {
  count_dropped();
  std::string out;
  obs::append_prometheus(out, counters);
  obs::append_prometheus_histogram(out, "commit_seconds", "duration of one group commit",
                                   writer->commit_ns());
  const auto decided = std::make_unique<obs::Histogram>();
  for (const auto& shard : shards) decided->merge(shard->accept_to_durable_ns());
  obs::append_prometheus_histogram(out, "end_of_data_to_decided_seconds",
                                   "from end of data to the commit decision", *decided);
  const DiskRoom room = writer->room();
  obs::append_prometheus_gauge(out, "connections", "connections open now", gate.all());
  obs::append_prometheus_gauge(out, "accepting",
                               "whether new mail is accepted: not when draining, nor when the disk "
                               "is below its reserve",
                               why_not_accepting().empty() ? 1 : 0);
  obs::append_prometheus_gauge(out, "disk_free_bytes", "free on the log's file system",
                               room.free_bytes);
  obs::append_prometheus_gauge(out, "disk_reserve_bytes", "below this much mail is put off",
                               reserve.bytes(room));
  obs::append_prometheus_gauge(out, "log_next_offset", "the offset of the next record",
                               writer->next_offset());
  append_group_metrics(out, live->groups(), writer->dropped());
  const LogFolder::Figures log = log_folder.look(base::read_clocks().mono.ns);
  obs::append_prometheus_gauge(out, "log_oldest_offset", "the offset of the oldest record kept",
                               log.oldest_offset);
  obs::append_prometheus_gauge(out, "log_bytes", "what the log's files take on disk", log.bytes);
  obs::append_prometheus_gauge(out, "log_segments", "files of the log", log.segments);
  append_scrub_metrics(out, scrub->figures());
  obs::append_prometheus_gauge(out, "shards", "receiving threads", std::uint64_t{shards.size()});
  if (certificates != nullptr) append_certificate_metrics(out, certificates->expiries());
  out +=
      "# HELP mxring_reload_failed whether the last reload failed, and what did not check\n"
      "# TYPE mxring_reload_failed gauge\n";
  for (const auto& [of, part] :
       {std::pair{"configuration", kOfConfiguration}, std::pair{"certificates", kOfCertificates}}) {
    out += fmt::format("mxring_reload_failed{{of=\"{}\"}} {}\n", of,
                       reload_failed[part].load(std::memory_order_relaxed) ? 1 : 0);
  }
  out +=
      "# HELP mxring_build_info the version, as a label\n# TYPE mxring_build_info gauge\n"
      "mxring_build_info{version=\"" MXRING_VERSION "\"} 1\n";
  append_process_metrics(out);
  return out;
}

std::string Server::Impl::status() const {
  count_dropped();
  std::string text = obs::to_json(counters);
  const std::string why_not = why_not_accepting();
  base::JsonWriter more;
  const auto addresses = [&more](const std::vector<base::Endpoint>& endpoints) {
    more.begin_array();
    for (const base::Endpoint& endpoint : endpoints) more.value(endpoint.to_string());
    more.end_array();
  };
  more.begin_object();
  more.key("version").value(MXRING_VERSION);
  more.key("uptime_seconds").value((base::read_clocks().mono - started_at) / base::kNsPerSecond);
  more.key("listeners").begin_object();
  more.key("smtp");
  addresses(smtp_endpoints);
  more.key("smtps");
  addresses(smtps_endpoints);
  more.key("admin").value(admin_endpoint);
  more.end_object();
  more.key("next_offset").value(writer->next_offset());
  more.key("disk_free_bytes").value(writer->room().free_bytes);
  more.key("accepting").value(why_not.empty());
  more.key("reason");
  why_not.empty() ? more.null() : more.value(why_not);
  more.key("cpu").raw(ledger_json(make_ledger(counters, process_cpu_ns())));
  more.end_object();
  text.back() = ',';
  text += std::string_view(more.text()).substr(1);
  return text;
}

// Of the live document: what is no counter.
void Server::Impl::describe(base::JsonWriter& json) const {
  const std::string why_not = why_not_accepting();
  json.key("version").value(MXRING_VERSION).key("hostname").value(config.hostname);
  json.key("pid").value(std::int64_t{::getpid()});
  json.key("uptime_seconds")
      .value(static_cast<double>(base::read_clocks().mono - started_at) * 1e-9);
  json.key("accepting").value(why_not.empty()).key("reason");
  why_not.empty() ? json.null() : json.value(why_not);
  json.key("connections").value(std::uint64_t{gate.all()});
  json.key("connections_max").value(std::uint64_t{config.limits.connections});
  json.key("memory_in_flight_bytes").value(counters.sum(obs::Counter::kMemoryInFlight));
  const DiskRoom room = writer->room();
  json.key("disk").begin_object().key("free_bytes").value(room.free_bytes);
  json.key("total_bytes").value(room.total_bytes);
  json.key("reserve_bytes").value(reserve.bytes(room)).end_object();
  const LogFolder::Figures log = log_folder.look(base::read_clocks().mono.ns);
  const Scrub::Figures checked = scrub->figures();
  json.key("log").begin_object().key("dir").value(config.log.dir);
  json.key("first").value(log.oldest_offset).key("next").value(writer->next_offset());
  json.key("bytes").value(log.bytes).key("segments").value(log.segments);
  json.key("verified_seconds");
  checked.on ? json.value(checked.age_seconds) : json.null();
  json.key("verify_passes").value(checked.passes);
  json.key("damaged_places").value(checked.damaged_places);
  json.key("damaged_records").value(checked.damaged_records).end_object();
  json.key("certificates").begin_array();
  if (certificates != nullptr) {
    for (const Certificates::Expiry& expiry : certificates->expiries()) {
      json.begin_object().key("file");
      expiry.file.empty() ? json.null() : json.value(expiry.file);
      json.key("expires_at").value(base::format_wall_time(expiry.unix_s * 1'000'000)).end_object();
    }
  }
  json.end_array();
}

}  // namespace mxring::server
