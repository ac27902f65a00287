# sf_warnings (target): the warnings that all of our code is clean of, with gcc and clang.
function (sf_warnings target)
  target_compile_options (${target} PRIVATE
    -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
    -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wimplicit-fallthrough -Wno-unused-parameter)
  if (SF_WERROR)
    target_compile_options (${target} PRIVATE -Werror)
  endif ()
endfunction ()
