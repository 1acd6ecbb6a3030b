#include "error.h"

#include <cctype>

namespace maskrcnn {

Error::Error(std::string_view message) : std::runtime_error(one_line(message)) {}

std::string one_line(std::string_view text) {
    std::string line;
    for (const unsigned char letter : text) {
        if (std::isspace(letter) == 0) {
            line += static_cast<char>(letter);
        } else if (!line.empty() && line.back() != ' ') {
            line += ' ';
        }
    }
    if (!line.empty() && line.back() == ' ') {
        line.pop_back();
    }
    return line;
}

}  // namespace maskrcnn
