/** The codec zstd for zarrita, decoding only: pure JavaScript, so that the page needs no WebAssembly. */
import {decompress} from 'fzstd';

export default {
  codecId: 'zstd',
  fromConfig: () => ({
    decode: (chunk) => decompress(chunk),
    encode() {
      throw new Error('the page writes nothing');
    },
  }),
};
