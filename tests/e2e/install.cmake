# What `cmake --install` puts where. Variables: BUILD (our build folder), WORK (a folder for this test).
file(REMOVE_RECURSE ${WORK})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "cmake --install: ${result}\n${output}")
endif()
foreach(file bin/mxring include/mxring/log_reader.h lib/systemd/system/mxring.service
    lib/systemd/system/mxring-report.service lib/systemd/system/mxring-report.timer
    share/doc/mxring/LICENSE share/doc/mxring/README.md share/doc/mxring/FORMAT.md
    share/doc/mxring/tuning/README.md share/doc/mxring/tuning/60-mxring.conf
    share/doc/mxring/tuning/profiles/small.toml
    share/doc/mxring/tuning/mxring.service.d/10-limits.conf)
  if(NOT EXISTS ${WORK}/${file})
    message(FATAL_ERROR "not installed: ${file}\n${output}")
  endif()
endforeach()
execute_process(COMMAND ${WORK}/bin/mxring --version RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the installed program does not run: ${result}")
endif()
file(REMOVE_RECURSE ${WORK})
