// Whom the server runs as. Started as root it does what needs root (binding ports below 1024,
// reading keys), then becomes the configured user for good: groups, all three ids, no capability,
// none to be had again either.
//
// Thread: the first, before any other exists; what Linux keeps per thread the later ones inherit.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>

namespace mxring::server {

struct RunAs {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
};

// The account of this name; an error in words when there is none.
std::expected<RunAs, std::string> find_user(const std::string& name);

// Becomes that user: afterwards nothing of root is left, which is looked at.
std::expected<void, std::string> become(const RunAs& user);

// Gives up every capability, those of later programs too, and the way to gain any. Where capset(2)
// is filtered away, that to bind ports below 1024 may stay; Landlock then refuses to bind any.
std::expected<void, std::string> give_up_privileges();

// Executing a program never gives more rights than we have; Landlock and seccomp want that.
std::expected<void, std::string> no_new_privileges();

// Whether this user, not we, may open that file for reading, or create files in that directory.
// Asks the kernel, as that user, in a child process.
bool may_read(const RunAs& user, const std::string& file);
bool may_write(const RunAs& user, const std::string& directory);

}  // namespace mxring::server
