// One seed, one life: a configuration is drawn, the receiver starts, clients come and go while
// faults happen, then everything calms down and must end well: every connection over, the receiver
// drained, every descriptor back, and the log holding exactly what was promised.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/config.h"
#include "server/server.h"
#include "tests/sim/client.h"
#include "tests/sim/disk.h"
#include "tests/sim/log_judge.h"
#include "tests/sim/policy.h"
#include "tests/sim/reader.h"
#include "tests/sim/resolver.h"
#include "tests/sim/sim_engine.h"
#include "tests/sim/world.h"

namespace mxring::sim {

struct LifeOptions {
  std::uint64_t seed = 0;
  bool readable = false;
  // What a minimiser takes away.
  std::uint64_t clients_max = ~0ULL;
  std::uint64_t faults = ~0ULL;  // a bit for each kind
};

// Kinds of fault, as bits of LifeOptions::faults.
enum FaultKind : std::uint64_t {
  kPowerCuts = 1,
  kKills = 2,
  kDiskErrors = 4,
  kFullDisk = 8,
  kSlowDisk = 16,
  kDnsFaults = 32,
  kClockJumps = 64,
  kEngineFaults = 128,
  kOperator = 256,
  kRudeClients = 512,
  kLyingDisk = 1024,
  kFaultKinds = 11,
};

struct LifeReport {
  std::uint64_t hash = 0;
  Ns simulated = 0;
  std::uint64_t accepted = 0;
  std::uint64_t connections = 0;
  std::uint64_t restarts = 0;
};

class Life {
 public:
  explicit Life(const LifeOptions& options);
  LifeReport run();

 private:
  struct Receiver;  // one process of it

  void draw();
  void draw_shortage();
  void say_configuration() const;
  void fill_resolver();
  void boot();
  void own(Receiver& receiver);
  void on_process_end(Receiver& receiver, const char* how);
  void plan_faults();
  void plan_clients(Ns from, Ns until, std::uint64_t count, bool calm);
  void start_client(std::uint64_t number, bool calm);
  void power_cut();
  void kill_receiver();
  void operate();
  void calm_down();
  void drain_and_end();
  void judge_log();
  void draw_readers();
  void read_to_the_end();
  LifeReport finish(Ns begun);
  void judge_record(const JudgedRecord& record);
  bool clients_over() const;
  bool lied() const { return (active_ & kLyingDisk) != 0; }
  bool wants(FaultKind kind, std::uint64_t chance);
  Person draw_person(std::uint64_t client);
  // In a fiber of the receiver.
  server::ConfigDraft configured() const;
  void write_policy(bool broken);
  void rewrite_policy(Receiver& receiver);
  EngineMood mood() const;

  LifeOptions options_;
  World world_;
  Dice dice_;
  server::Config config_;
  SimResolver resolver_;
  PolicyBook policy_;
  Ledger ledger_;
  LifeReport report_;
  std::vector<std::unique_ptr<Receiver>> receivers_;
  std::vector<std::unique_ptr<Reader>> readers_;
  Receiver* receiver_ = nullptr;  // that runs; none between two
  std::vector<std::shared_ptr<Client>> clients_;
  std::uint64_t clients_planned_ = 0;
  std::uint64_t clients_begun_ = 0;
  std::uint64_t active_ = 0;  // kinds of fault
  bool troubled_ = true;      // faults may happen
  InodePtr backup_;           // an older copy of the disk
  bool in_peace_ = false;     // the receiver that runs has never seen any
  bool crowd_ = false;        // of large messages, with little memory
  Ns trouble_ends_ = 0;
};

}  // namespace mxring::sim
