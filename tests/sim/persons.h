// Who comes to a receiver: clients of their own, over IPv4 and IPv6, balancers that say for whom
// they speak (PROXY, versions 1 and 2, written here from HAProxy's specification), and proxies.
#pragma once

#include "tests/sim/client.h"
#include "tests/sim/dice.h"

namespace mxring::sim {

Person draw_person(Dice& dice, std::uint64_t number);

}  // namespace mxring::sim
