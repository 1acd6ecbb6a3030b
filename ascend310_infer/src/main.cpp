#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>

#include "app.h"
#include "error.h"
#include "options.h"

namespace {

constexpr int user_error = 2;
constexpr int internal_error = 1;

int fail(int code, const char* reason) {
    std::fprintf(stderr, "error: %s\n", reason);
    return code;
}

int guarded_main(int argc, const char* const* argv) {
    try {
        const auto options = maskrcnn::parse_options(argc, argv);
        return options ? maskrcnn::run_app(*options) : 0;
    } catch (const maskrcnn::Error& error) {
        return fail(user_error, error.what());
    } catch (const std::filesystem::filesystem_error& error) {
        return fail(user_error, error.what());
    } catch (const std::bad_alloc&) {
        return fail(user_error, "not enough memory: take fewer --num_parallel_workers or a smaller model");
    } catch (const std::exception& error) {
        return fail(internal_error, error.what());
    }
}

}  // namespace

int main(int argc, char** argv) {
    const int code = guarded_main(argc, argv);
    // Everything of ours is closed by now. Vendors' libraries are not taken apart: MindSpore's crash while they are.
    std::cout.flush();
    std::fflush(nullptr);
    std::_Exit(code);
}
