#include "cli/serve_actions.h"

#include <fmt/format.h>

#include "cli/mail_questions.h"
#include "obs/service_notice.h"
#include "server/journal.h"
#include "server/server.h"

namespace mxring::cli {

std::expected<std::string, std::string> ServeActions::reload() {
  if (draining()) return std::unexpected("draining: nothing is read");
  obs::notify_service_of_reload();
  std::expected<std::string, std::string> result;
  if (const auto config = load_config(options_); config) {
    result = receiver_.reload(*config);
  } else {
    receiver_.reload_refused();
    result = std::unexpected(config.error().message);
  }
  obs::notify_service("READY=1");
  journal_.notice(result ? *result
                         : fmt::format("warning: reload: nothing changed: {}", result.error()));
  return result;
}

bool ServeActions::drain() {
  if (draining_.exchange(true, std::memory_order_relaxed)) return false;
  obs::notify_service("STOPPING=1");
  journal_.notice("draining: transactions in progress may finish; a second signal ends at once");
  receiver_.begin_drain();
  return true;
}

std::expected<std::unique_ptr<server::Control>, std::string> ServeActions::open_control(
    const server::Config& config) {
  const std::string path = server::control_path(config);
  auto control = server::Control::start(
      path,
      {.status = [this] { return receiver_.status(); },
       .live = [this] { return receiver_.live(); },
       .traces = &receiver_.traces(),
       .reload = [this] { return reload(); },
       .drain = [this]() -> server::ControlActions::Result {
         if (!drain()) return std::unexpected("draining already");
         return "draining: transactions in progress may finish";
       },
       .rotate = [this, to_file = config.journal.to != "stderr" &&
                                  !config.journal.to.empty()]() -> server::ControlActions::Result {
         if (!to_file) {
           return std::unexpected("journal.to names no file: there is nothing to open again");
         }
         journal_.reopen();
         return "the journal's file is opened again";
       }});
  receiver_.answer_mail_with(MailQuestions(config.log.dir));
  if (control) return std::move(*control);
  if (!config.listen.control.empty()) {
    return std::unexpected(control.error() + " (listen.control)");
  }
  journal_.notice(fmt::format("warning: no control socket for `mxring ctl`: {}", control.error()));
  return nullptr;
}

}  // namespace mxring::cli
