#include "result_file.h"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "error.h"

namespace maskrcnn {
namespace {

namespace fs = std::filesystem;

Error cannot_write(const fs::path& path, int reason) {
    return Error("cannot write " + path.string() + ": " + std::generic_category().message(reason));
}

void move_file(const fs::path& from, const fs::path& to) {
    std::error_code error;
    fs::rename(from, to, error);
    if (error) {
        throw cannot_write(to, error.value());
    }
}

}  // namespace

ResultFile::ResultFile(fs::path path)
    : path_(std::move(path)),
      partial_(fs::path(path_).replace_extension(".partial.json")),
      file_(std::fopen(partial_.c_str(), "wb")) {
    if (!file_) {
        throw cannot_write(partial_, errno);
    }
    write("[");
}

ResultFile::~ResultFile() {
    if (file_) {
        try {
            close();
        } catch (const Error&) {  // the run has failed already, and with a better message
        }
    }
}

void ResultFile::append(std::string_view record) {
    write(empty_ ? "\n" : ",\n");
    write(record);
    empty_ = false;
}

void ResultFile::close() {
    write("\n]\n");
    const auto file = std::move(file_);
    if (std::fflush(file.get()) != 0 || ::fsync(::fileno(file.get())) != 0) {
        throw cannot_write(partial_, errno);
    }
}

void ResultFile::publish() { move_file(partial_, path_); }

void ResultFile::write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) {
        throw cannot_write(partial_, errno);
    }
}

void write_file(const fs::path& path, std::string_view text) {
    fs::path temporary = path;
    temporary += ".tmp";
    {
        const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(temporary.c_str(), "wb"), std::fclose);
        if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
            std::fflush(file.get()) != 0 || ::fsync(::fileno(file.get())) != 0) {
            throw cannot_write(temporary, errno);
        }
    }
    move_file(temporary, path);
}

}  // namespace maskrcnn
