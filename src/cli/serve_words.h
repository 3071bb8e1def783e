// What `mxring serve` says: the ready line that programs wait for, the warnings, and the first
// steps for a person.
#pragma once

#include <string>
#include <vector>

#include "base/ip_address.h"
#include "server/config.h"

namespace mxring::cli {

struct Listening {
  std::vector<base::Endpoint> smtp;
  std::vector<base::Endpoint> smtps;
  std::string admin;    // "" = off
  std::string log_dir;  // the whole path: it is read in other folders than ours
  std::uint32_t shards = 0;
  int pid = 0;
  bool self_signed = false;  // TLS is offered with a certificate of our own making
};

// "ready smtp=127.0.0.1:2525 smtps=127.0.0.1:4650 admin=off log=/srv/mail/mxring-log shards=2
// pid=1234"; smtp= and smtps= once for each address. Spaces and control characters in the
// directory's name are escaped as \xNN.
std::string ready_line(const Listening& listening);

// "./mxring-log" as it is named from anywhere.
std::string whole_path(const std::string& path);

// How to send a message and read it back, with commands to copy.
std::string welcome(const Listening& listening);

// TLS is offered, and no certificate was configured.
bool uses_self_signed(const server::Config& config);

// What the operator should know about a configuration that is accepted.
std::vector<std::string> warnings(const server::Config& config);

}  // namespace mxring::cli
