# What `cmake --install` puts where. Variables: BUILD (our build folder), WORK (a folder for this test).
file(REMOVE_RECURSE ${WORK})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "cmake --install: ${result}\n${output}")
endif()
foreach(file bin/mxring include/mxring/log_reader.h lib/systemd/system/mxring.service
    lib/systemd/system/mxring-relay@.service
    lib/systemd/system/mxring-log-serve.service
    lib/systemd/system/mxring-report.service lib/systemd/system/mxring-report.timer
    share/doc/mxring/LICENSE share/doc/mxring/README.md share/doc/mxring/FORMAT.md
    share/doc/mxring/tuning/README.md share/doc/mxring/tuning/60-mxring.conf
    share/doc/mxring/tuning/profiles/small.toml
    share/doc/mxring/tuning/mxring.service.d/10-limits.conf)
  if(NOT EXISTS ${WORK}/${file})
    message(FATAL_ERROR "not installed: ${file}\n${output}")
  endif()
endforeach()
# The units start the program that was installed with them, also into a staging folder.
function(expect_program unit program)
  file(READ ${unit} text)
  string(REGEX MATCHALL "Exec[A-Za-z]+=-?[^ \n]*mxring " starts "${text}")
  list(LENGTH starts count)
  if(count EQUAL 0)
    message(FATAL_ERROR "${unit} starts nothing")
  endif()
  foreach(start IN LISTS starts)
    if(NOT start MATCHES "=-?${program} $")
      message(FATAL_ERROR "${unit} has ${start}, not ${program}")
    endif()
  endforeach()
endfunction()
expect_program(${WORK}/lib/systemd/system/mxring.service ${WORK}/bin/mxring)
expect_program(${WORK}/lib/systemd/system/mxring-report.service ${WORK}/bin/mxring)
execute_process(COMMAND ${CMAKE_COMMAND} -E env DESTDIR=${WORK}/stage
  ${CMAKE_COMMAND} --install ${BUILD} --prefix /opt/mx
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "cmake --install with DESTDIR: ${result}\n${output}")
endif()
expect_program(${WORK}/stage/opt/mx/lib/systemd/system/mxring.service /opt/mx/bin/mxring)
if(EXISTS /opt/mx/lib/systemd/system/mxring.service)
  message(FATAL_ERROR "DESTDIR was not obeyed")
endif()
execute_process(COMMAND ${WORK}/bin/mxring --version RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the installed program does not run: ${result}")
endif()
file(REMOVE_RECURSE ${WORK})
