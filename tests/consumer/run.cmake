# Installs the reader into a folder of its own, builds tests/consumer against it, and runs it on a
# log. Variables: BUILD (our build folder), SOURCE (tests/consumer), WORK (a folder for this test),
# SAMPLE (the program that writes the log), COMPILER, FLAGS, CONFIG, BUILD_PROGRAM, GENERATOR.
file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output
    ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "failed (${result}): ${command}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --component reader --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -G ${GENERATOR}
  -DCMAKE_MAKE_PROGRAM=${BUILD_PROGRAM} -DCMAKE_PREFIX_PATH=${WORK}/prefix
  -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_BUILD_TYPE=${CONFIG})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${SAMPLE} ${WORK}/log)
run(${WORK}/build/consumer ${WORK}/log 10)
foreach(expected
    "0 sender-0@example.net one@example.org two@example.org 16 32\n"
    "11 sender-11@example.net one@example.org two@example.org 11016 11032\n"
    "12 records, 2 from 10 on")
  string(FIND "${output}" "${expected}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "not in the consumer's output: ${expected}\n${output}")
  endif()
endforeach()
message(STATUS "${output}")

run(${WORK}/build/group ${WORK}/log readers 5)
run(${WORK}/build/group ${WORK}/log readers 7)
foreach(expected "_11 sender-11@example.net 11016 11032 one@example.org two@example.org dkim=0\n"
    "12 of 12\n")
  string(FIND "${output}" "${expected}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "not in the group reader's output: ${expected}\n${output}")
  endif()
endforeach()
message(STATUS "${output}")
