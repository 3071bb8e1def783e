# The Debian packages, made by CPack (`./run.sh package`): mxring, libmxring-dev,
# python3-mxringlog, and mxring-relay where that is built.
#
# Components: receiver (the default), etc, reader, python, relay.
set(package_dir ${CMAKE_CURRENT_LIST_DIR})
find_program(GZIP_PROGRAM gzip)
find_package(Python3 3.9 QUIET COMPONENTS Interpreter)

# Debian's form; what has changed is in CHANGELOG.md, which is installed too.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/debian_changelog CONTENT
"mxring (${PROJECT_VERSION}) stable; urgency=medium

  * Version ${PROJECT_VERSION}: see CHANGELOG.md.

 -- The mxring authors <mxring@example.org>  Tue, 01 Dec 2026 00:00:00 +0000
")

# Manual pages and completion come out of the program itself.
set(manual_dir ${PROJECT_BINARY_DIR}/manual)
if(NOT CMAKE_CROSSCOMPILING AND GZIP_PROGRAM)
  add_custom_command(OUTPUT ${manual_dir}/stamp
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${manual_dir}
    COMMAND mxring manual pages --out ${manual_dir}/pages
    COMMAND ${CMAKE_COMMAND} -E make_directory ${manual_dir}/man1 ${manual_dir}/man5
      ${manual_dir}/doc ${manual_dir}/relay
    COMMAND sh -c "gzip -9n ${manual_dir}/pages/* && mv ${manual_dir}/pages/*.1.gz ${manual_dir}/man1 && mv ${manual_dir}/pages/*.5.gz ${manual_dir}/man5"
    COMMAND sh -c "gzip -9nc ${PROJECT_BINARY_DIR}/debian_changelog > ${manual_dir}/doc/changelog.gz"
    COMMAND sh -c "$<TARGET_FILE:mxring-relay> --manual page | gzip -9n > ${manual_dir}/relay/mxring-relay.1.gz"
    COMMAND sh -c "$<TARGET_FILE:mxring-relay> --manual config | gzip -9n > ${manual_dir}/relay/mxring-relay.toml.5.gz"
    COMMAND sh -c "$<TARGET_FILE:mxring-relay> --manual bash > ${manual_dir}/relay/mxring-relay"
    COMMAND sh -c "$<TARGET_FILE:mxring-relay> --manual zsh > ${manual_dir}/relay/_mxring-relay"
    COMMAND sh -c "$<TARGET_FILE:mxring-relay> --manual fish > ${manual_dir}/relay/mxring-relay.fish"
    COMMAND mxring manual bash --out ${manual_dir}/mxring
    COMMAND mxring manual zsh --out ${manual_dir}/_mxring
    COMMAND mxring manual fish --out ${manual_dir}/mxring.fish
    COMMAND ${CMAKE_COMMAND} -E touch ${manual_dir}/stamp
    DEPENDS mxring mxring-relay ${PROJECT_BINARY_DIR}/debian_changelog VERBATIM)
  add_custom_target(manual ALL DEPENDS ${manual_dir}/stamp)
endif()
install(DIRECTORY ${manual_dir}/man1 ${manual_dir}/man5 DESTINATION ${CMAKE_INSTALL_MANDIR}
  OPTIONAL)
install(FILES ${manual_dir}/mxring DESTINATION share/bash-completion/completions OPTIONAL)
install(FILES ${manual_dir}/_mxring DESTINATION share/zsh/vendor-completions OPTIONAL)
install(FILES ${manual_dir}/mxring.fish DESTINATION share/fish/vendor_completions.d OPTIONAL)
set(relay_manual ${manual_dir}/relay)
install(FILES ${relay_manual}/mxring-relay.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
  COMPONENT relay OPTIONAL)
install(FILES ${relay_manual}/mxring-relay.toml.5.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man5
  COMPONENT relay OPTIONAL)
install(FILES ${relay_manual}/mxring-relay DESTINATION share/bash-completion/completions
  COMPONENT relay OPTIONAL)
install(FILES ${relay_manual}/_mxring-relay DESTINATION share/zsh/vendor-completions
  COMPONENT relay OPTIONAL)
install(FILES ${relay_manual}/mxring-relay.fish DESTINATION share/fish/vendor_completions.d
  COMPONENT relay OPTIONAL)
install(FILES ${package_dir}/mxring.toml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# The Python package where the interpreter of that prefix looks for it.
if(Python3_FOUND)
  set(python_version ${Python3_VERSION_MAJOR}.${Python3_VERSION_MINOR})
else()
  set(python_version 3)
endif()
install(CODE "set(python_source \"${PROJECT_SOURCE_DIR}/include/python\")
set(python_version ${python_version})
set(python_package_version ${PROJECT_VERSION})" COMPONENT python)
install(CODE [[
  get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}" ABSOLUTE)
  if(prefix STREQUAL "/usr")
    set(python_dir lib/python3/dist-packages)
  else()
    set(python_dir lib/python${python_version}/dist-packages)
  endif()
  file(INSTALL "${python_source}/mxringlog" DESTINATION "${prefix}/${python_dir}"
    PATTERN __pycache__ EXCLUDE)
  file(WRITE "$ENV{DESTDIR}${prefix}/${python_dir}/mxringlog-${python_package_version}.egg-info"
    "Metadata-Version: 2.1\nName: mxringlog\nVersion: ${python_package_version}\nSummary: Reads the log of mxring\nRequires-Python: >=3.9\n")
]] COMPONENT python)

# Files that only a Debian package has.
install(FILES ${package_dir}/mxring.toml DESTINATION /etc/mxring COMPONENT etc EXCLUDE_FROM_ALL)
foreach(pair "etc;mxring" "debian_reader;libmxring-dev" "debian_python;python3-mxringlog"
    "debian_relay;mxring-relay")
  list(GET pair 0 component)
  list(GET pair 1 package)
  install(FILES ${package_dir}/copyright DESTINATION /usr/share/doc/${package}
    COMPONENT ${component} EXCLUDE_FROM_ALL)
  install(FILES ${manual_dir}/doc/changelog.gz DESTINATION /usr/share/doc/${package}
    COMPONENT ${component} EXCLUDE_FROM_ALL OPTIONAL)
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_NAME mxring)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The mxring authors <mxring@example.org>")
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_COMPONENTS_ALL receiver etc reader debian_reader python debian_python)
set(CPACK_COMPONENT_RECEIVER_GROUP mxring)
set(CPACK_COMPONENT_ETC_GROUP mxring)
set(CPACK_COMPONENT_READER_GROUP dev)
set(CPACK_COMPONENT_DEBIAN_READER_GROUP dev)
set(CPACK_COMPONENT_PYTHON_GROUP python)
set(CPACK_COMPONENT_DEBIAN_PYTHON_GROUP python)
if(TARGET mxring-relay)
  list(APPEND CPACK_COMPONENTS_ALL relay debian_relay)
  set(CPACK_COMPONENT_RELAY_GROUP relay)
  set(CPACK_COMPONENT_DEBIAN_RELAY_GROUP relay)
endif()

set(CPACK_DEBIAN_MXRING_PACKAGE_NAME mxring)
set(CPACK_DEBIAN_MXRING_PACKAGE_SECTION mail)
set(CPACK_DEBIAN_MXRING_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_MXRING_PACKAGE_CONTROL_EXTRA
  "${package_dir}/postinst;${package_dir}/prerm;${package_dir}/postrm;${package_dir}/conffiles")
set(CPACK_DEBIAN_MXRING_DESCRIPTION "inbound mail exchanger on io_uring
Receives mail over SMTP, says who it is from (SPF, DKIM, DMARC) and appends
every message, durably, to a log that other programs read like a stream.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libmxring-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEV_DESCRIPTION "reader of the log of mxring, for C++
Static libraries and headers: records of received mail, in order, for named
groups that keep their place.")
set(CPACK_DEBIAN_PYTHON_PACKAGE_NAME python3-mxringlog)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS "python3 (>= 3.9)")
set(CPACK_DEBIAN_PYTHON_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_PYTHON_DESCRIPTION "reader of the log of mxring, for Python
Records of received mail, in order, for named groups that keep their place.
Pure Python, without dependencies.")
set(CPACK_DEBIAN_RELAY_PACKAGE_NAME mxring-relay)
set(CPACK_DEBIAN_RELAY_PACKAGE_SECTION mail)
set(CPACK_DEBIAN_RELAY_PACKAGE_DEPENDS "mxring (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_RELAY_DESCRIPTION "delivers the mail of mxring's log elsewhere
Reads the log for a group and hands each message to one sink: a webhook, LMTP,
a maildir or NATS JetStream.")
include(CPack)
