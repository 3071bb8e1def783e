// The marks in the code under test (base/probe.h): which situations have happened, and the points
// at which a life asks for something unusual.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/world.h"

namespace mxring::sim {

// ---- probes

// Before the first life: what happens in any of them is seen in the process that starts them.
void share_probes();
// At a life's end, however it ends: what has happened in it.
void keep_probes();
// What has happened in no life so far.
std::vector<std::string> probes_missed();
std::size_t probes_known();

// ---- buggify points

// From now on, in this life. Each point is awake in a third of all lives.
void wake_points(World& world, std::uint64_t seed);
// All is calm: no point asks for anything any more.
void rest_points();

}  // namespace mxring::sim
