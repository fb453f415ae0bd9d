package adlakehouse

import io.delta.storage.HadoopFileSystemLogStore
import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.FileAlreadyExistsException
import java.util.Arrays
import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.{FSDataOutputStream, FileSystem, Path}
import scala.util.Using

/**
 * Delta's log on S3, where an entry is put only if there is none (`If-None-Match: *`), as delta-rs does it. Delta's own
 * store for S3 overwrites: it keeps writers apart within one process only.
 */
class ConditionalPutLogStore(settings: Configuration) extends HadoopFileSystemLogStore(settings) {

  /** Raises `FileAlreadyExistsException` when another writer was first, on which Delta looks for conflicts. */
  override def write(
      path: Path, actions: java.util.Iterator[String], overwrite: java.lang.Boolean, conf: Configuration): Unit = {
    val lines = new StringBuilder
    actions.forEachRemaining(line => lines.append(line).append('\n'))
    val entry = lines.toString.getBytes(UTF_8)
    val files = path.getFileSystem(conf)
    try put(files, path, entry, overwrite)
    catch {
      // S3A asks again when an answer is lost, and is refused then for what it has put itself. An entry is unlike all
      // others, by the id of its transaction: what is there tells whose it is.
      case refused: IOException if !overwrite =>
        if (!files.exists(path)) throw refused
        if (!Arrays.equals(content(files, path), entry)) throw new FileAlreadyExistsException(path.toString)
    }
  }

  /** An object appears whole, when its upload ends. */
  override def isPartialWriteVisible(path: Path, conf: Configuration): java.lang.Boolean = false

  private def put(files: FileSystem, path: Path, entry: Array[Byte], overwrite: Boolean): Unit = {
    val builder = files.createFile(path)
    builder.overwrite(true) // else S3A would ask for it first, too
    if (!overwrite) builder.must("fs.option.create.conditional.overwrite", true)
    val stream = builder.build().asInstanceOf[FSDataOutputStream]
    stream.write(entry)
    stream.close() // puts it; not after a failed write, which would put a part of it
  }

  private def content(files: FileSystem, path: Path): Array[Byte] = Using.resource(files.open(path))(_.readAllBytes())
}
