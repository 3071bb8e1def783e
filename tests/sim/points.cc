#include "tests/sim/points.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string_view>

#include "base/probe.h"

extern mxring::base::Probe* const __start_mxring_probes[];
extern mxring::base::Probe* const __stop_mxring_probes[];

namespace mxring::sim {

namespace {

std::atomic<bool>* g_reached = nullptr;  // shared with all lives, in the order of the section

struct Points {
  World* world;
  Dice dice;
  std::map<std::string, bool, std::less<>> awake;
};
Points* g_points = nullptr;  // none: they rest

bool asks(const char* point, unsigned permille) {
  if (g_points == nullptr) return false;
  auto known = g_points->awake.find(std::string_view(point));
  if (known == g_points->awake.end()) {
    known = g_points->awake.emplace(point, g_points->dice.permille(333)).first;
  }
  if (!known->second || !g_points->dice.permille(permille)) return false;
  g_points->world->trace(std::string("point: ") + point);
  return true;
}

}  // namespace

std::size_t probes_known() {
  return static_cast<std::size_t>(__stop_mxring_probes - __start_mxring_probes);
}

void share_probes() {
  void* memory = ::mmap(nullptr, std::max<std::size_t>(probes_known(), 1), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  g_reached = static_cast<std::atomic<bool>*>(memory);
}

void keep_probes() {
  if (g_reached == nullptr) return;
  for (std::size_t i = 0; i < probes_known(); ++i) {
    if (__start_mxring_probes[i]->reached.load()) g_reached[i].store(true);
  }
}

std::vector<std::string> probes_missed() {
  std::vector<std::string> missed;
  for (std::size_t i = 0; i < probes_known(); ++i) {
    if (!g_reached[i].load()) missed.emplace_back(__start_mxring_probes[i]->name);
  }
  std::ranges::sort(missed);
  return missed;
}

void wake_points(World& world, std::uint64_t seed) {
  g_points = new Points{&world, Dice(seed ^ 0x706F696E7473ULL), {}};
  base::buggify_hook = &asks;
}

void rest_points() {
  g_points = nullptr;
}

}  // namespace mxring::sim
