// Serves a tree with one of each kind of node, without a device: `filesystem-server MOUNT_POINT [--no-polling] [--force-unmount]`.
// Tests of the file layer drive it from outside; tools/bench measures its `register`.
import Glibc
import HostFilesystem

/// Says why it can't go on.
func fail(_ message: String, status: Int32) -> Never {
    let line = Array((message + "\n").utf8)
    write(STDERR_FILENO, line, line.count)
    exit(status)
}

let arguments = CommandLine.arguments.dropFirst()
guard let mountPoint = arguments.first(where: { !$0.hasPrefix("--") }) else {
    fail("usage: filesystem-server MOUNT_POINT [--no-polling] [--force-unmount]", status: 2)
}
var options = MountedTree.Options()
if arguments.contains("--no-polling") { options.polling = 0 }
options.forceUnmount = arguments.contains("--force-unmount")

do {
    let tree = try MountedTree(sampleTree(), at: mountPoint, options: options)
    print("mounted")
    fflush(nil)
    try tree.serve()
} catch {
    fail("filesystem-server: \(error)", status: 1)
}
