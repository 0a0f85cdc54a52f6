import Foundation
import HostFilesystem
import Peripherals

/// One of each kind of node.
func sampleTree() throws -> NodeTable {
    let nodes = NodeTable()
    let root = nodes.root

    var shown = 0
    var stored = "nothing\n"
    root.add("greeting", AttributeFile("hello"))
    root.add("counter", AttributeFile(show: { () throws(Errno) in
        shown += 1
        return "\(shown)\n"
    }))
    root.add("long", AttributeFile(show: { () throws(Errno) in String(repeating: "0123456789abcde\n", count: 1000) }))
    root.add("setting", AttributeFile(
        show: { () throws(Errno) in stored },
        store: { (text, _) throws(Errno) in
            if text.hasPrefix("bad") { throw .invalidArgument }
            stored = text
        }))
    root.add("trigger", AttributeFile(store: { (_, _) throws(Errno) in }))
    root.add("link", SymbolicLink("directory/inner"))
    root.directory("directory").add("inner", AttributeFile("inside"))

    // Registers: aligned accesses of 4 bytes only; `last` says what the server saw.
    let registers = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 8)
    registers.initializeMemory(as: UInt8.self, repeating: 0)
    var last = "none\n"
    root.add("register", AccessFile(
        size: 64, permissions: 0o600,
        read: { (offset, buffer, _) throws(Errno) in
            guard buffer.count == 4, offset % 4 == 0 else { throw .invalidArgument }
            buffer.storeBytes(of: registers.load(fromByteOffset: offset, as: UInt32.self), as: UInt32.self)
            return 4
        },
        write: { (offset, bytes, _) throws(Errno) in
            guard bytes.count == 4, offset % 4 == 0 else { throw .invalidArgument }
            registers.storeBytes(of: bytes.loadUnaligned(as: UInt32.self), toByteOffset: offset, as: UInt32.self)
            return 4
        }))
    root.add("window", AccessFile(
        size: 4096, permissions: 0o600,
        read: { (offset, buffer, _) throws(Errno) in
            last = "read \(offset) \(buffer.count)\n"
            return buffer.count
        },
        write: { (offset, bytes, _) throws(Errno) in
            last = "write \(offset) \(bytes.count)\n"
            return bytes.count
        }))
    root.add("last", AttributeFile(show: { () throws(Errno) in last }))

    // A BAR: accesses come here and are inverted, a mapping maps the memory as it is.
    let bar = try MemoryPages(name: "bar", size: 8192)
    root.add("bar", AccessFile(
        size: 8192, permissions: 0o600, mapping: Mapping(memory: bar.fileDescriptor, servesAccesses: false),
        read: { (offset, buffer, _) throws(Errno) in
            for index in 0..<buffer.count { buffer[index] = ~bar.bytes[offset + index] }
            return buffer.count
        },
        write: { (offset, bytes, _) throws(Errno) in
            for index in 0..<bytes.count { bar.bytes[offset + index] = ~bytes[index] }
            return bytes.count
        }))
    let memory = try MemoryPages(name: "memory", size: 1 << 20)
    root.add("memory", AccessFile(memory: memory, permissions: 0o600))

    // Events, raised from another thread as a machine does.
    let events = root.add("events", EventFile())
    root.add("raise", AttributeFile(store: { (text, _) throws(Errno) in
        guard let count = Int(text.prefix { $0.isNumber }) else { throw .invalidArgument }
        Thread.detachNewThread {
            for _ in 0..<count { events.raise() }
        }
    }))

    // Functions that appear and vanish.
    let functions = root.directory("functions")
    var present = 0
    root.add("number", AttributeFile(
        show: { () throws(Errno) in "\(present)\n" },
        store: { (text, _) throws(Errno) in
            guard let wanted = Int(text.prefix { $0.isNumber }), wanted <= 64 else { throw .invalidArgument }
            for number in 0..<present { functions.remove("function\(number)") }
            present = wanted
            for number in 0..<present {
                let function = functions.add("function\(number)", Directory())
                function.add("id", AttributeFile("\(number)"))
                function.add("events", EventFile())
                function.add("register", AccessFile(
                    size: 4, permissions: 0o600,
                    read: { (_, buffer, _) throws(Errno) in buffer.count }, write: { (_, bytes, _) throws(Errno) in bytes.count }))
            }
        }))
    // Something that is taken as a whole, on close.
    var upload = "nothing\n"
    root.add("upload", UploadFile(
        limit: 1 << 20, show: { () throws(Errno) in upload },
        accept: { (bytes) throws(Errno) in
            guard bytes.first != UInt8(ascii: "!") else { throw .invalidArgument }
            upload = "\(bytes.count)\n"
        }))
    addCard(to: root)
    root.add("nodes", AttributeFile(show: { () throws(Errno) in "\(nodes.count)\n" }))
    return nodes
}

/// A PCI card without a device behind it, for programs that map registers: two memory BARs of 8 KiB and 64 bytes and 16 ports, all of them
/// plain storage, and `accesses`, what has been read and written since it was last shown.
private func addCard(to root: Directory) {
    // What `outrigger exec` looks for.
    for path in ["sys/class/uio", "dev"] { _ = root.directory(path) }
    let card = root.directory("sys/bus/pci/devices/0000:01:00.0")
    card.add("resource", AttributeFile(
        """
        0x00000000e0000000 0x00000000e0001fff 0x0000000000040200
        0x00000000e0002000 0x00000000e000203f 0x0000000000040200
        0x000000000000c000 0x000000000000c00f 0x0000000000040101
        """))
    var accesses = ""
    for (number, size) in [8192, 64, 16].enumerated() {
        var bytes = [UInt8](repeating: 0, count: size)
        card.add("resource\(number)", AccessFile(
            size: size, permissions: 0o600,
            read: { (offset, buffer, _) throws(Errno) in
                accesses += "r\(buffer.count) \(number) \(offset)\n"
                bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + buffer.count)])) }
                return buffer.count
            },
            write: { (offset, new, _) throws(Errno) in
                accesses += "w\(new.count) \(number) \(offset)\n"
                bytes.replaceSubrange(offset..<(offset + new.count), with: new)
                return new.count
            }))
    }
    card.add("accesses", AttributeFile(show: { () throws(Errno) in
        defer { accesses = "" }
        return accesses.isEmpty ? "\n" : accesses
    }))
}
