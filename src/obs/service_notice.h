// What systemd (Type=notify) is told of the state of this service: one datagram each, to the socket
// that NOTIFY_SOCKET names (sd_notify(3)); nothing where nobody asked.
#pragma once

#include <string_view>

namespace mxring::obs {

void notify_service(std::string_view state);  // "READY=1"; several lines are one notice

// "RELOADING=1" with the moment that systemd orders it by.
void notify_service_of_reload();

}  // namespace mxring::obs
