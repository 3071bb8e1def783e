// What each command does, one function per row of the command table (command_table.h). Each gets a
// line that is whole, clean of control bytes and in place in the order of commands.
//
// Thread, ownership: the session's.
#pragma once

#include <string_view>

#include "smtp/session.h"

namespace mxring::smtp {

struct Handlers {
  using Outcome = Session::Outcome;
  struct Call {
    std::string_view arguments;
    const Input& behind;  // what has arrived after this line
    ReplyBuffer& out;
  };
  using Function = Outcome (*)(Session&, const Call&);

  // handlers_hello.cc
  static Outcome ehlo(Session& session, const Call& call);
  static Outcome helo(Session& session, const Call& call);
  static Outcome xclient(Session& session, const Call& call);
  static Outcome starttls(Session& session, const Call& call);
  // handlers_transaction.cc
  static Outcome mail(Session& session, const Call& call);
  static Outcome rcpt(Session& session, const Call& call);
  static Outcome data(Session& session, const Call& call);
  static Outcome bdat(Session& session, const Call& call);
  static Outcome rset(Session& session, const Call& call);
  // handlers_other.cc
  static Outcome noop(Session& session, const Call& call);
  static Outcome vrfy(Session& session, const Call& call);
  static Outcome help(Session& session, const Call& call);
  static Outcome quit(Session& session, const Call& call);
  static Outcome other(Session& session, const Call& call);
  static Outcome http(Session& session, const Call& call);
  static Outcome unknown(Session& session, const Call& call);

 private:
  static Outcome greet_back(Session& session, const Call& call, bool esmtp);
};

}  // namespace mxring::smtp
